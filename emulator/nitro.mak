# What the nitro-enclave machine needs, and no more: QEMU links hardly anything else.
CONFIG_PCI_DEVICES=n
CONFIG_MICROVM=y
CONFIG_NITRO_ENCLAVE=y
CONFIG_VIRTIO_SERIAL=y
CONFIG_VIRTIO_RNG=y
