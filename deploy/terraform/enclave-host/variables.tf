variable "name" {
  description = "Of the role, the instance and all that belongs to them. The key policy names the role, so keep it."
  type        = string
  default     = "cloister-parent"
}

variable "subnet_id" {
  description = "A private subnet, with a way out on port 443 to KMS, S3 and the identity providers: NAT or VPC endpoints."
  type        = string
}

variable "instance_type" {
  description = "One that runs enclaves. On x86 with 4 vCPUs or more, of which the enclave takes whole cores."
  type        = string
  default     = "m6i.xlarge"
}

variable "ami_id" {
  description = "Amazon Linux 2023 of the instance type's architecture. Null: the newest when the instance is made."
  type        = string
  default     = null
}

variable "architecture" {
  description = "Of the instance type, the release and the image: x86_64 or arm64; there is no image for arm64 yet (docs/build-an-image.md)."
  type        = string
  default     = "x86_64"
}

variable "enclave" {
  description = "memory_mib: at least four times the image. cpu_count: whole cores. cid: as the parent calls it."
  type = object({
    memory_mib = optional(number, 1024)
    cpu_count  = optional(number, 2)
    cid        = optional(number, 16)
  })
  default = {}
}

variable "artifacts_bucket" {
  description = "S3 bucket that holds release and image. The role may read those two objects of it and nothing else."
  type        = string
}

variable "release" {
  description = "Of `make release`: key in the bucket and SHA-256 in hex."
  type = object({
    key    = string
    sha256 = string
  })
}

variable "image" {
  description = "Of the image's build: key of the EIF in the bucket, its SHA-256, measurements.json and cloister.yaml as text. Null, for the time before there is an image: role, key and volume are made, and no instance."
  type = object({
    key          = string
    sha256       = string
    measurements = string
    manifest     = string
  })
  default = null
}

variable "pcr_sets" {
  description = "Who may use the key, as deploy/terraform/kms-key takes it. Null: PCR0 of the image alone. Both images' for the overlap of an upgrade."
  type        = list(map(string))
  default     = null
}

variable "egress_allow" {
  description = "Destinations of the manifest, as host:port, besides KMS."
  type        = list(string)
  default     = []
}

variable "http" {
  description = "Where the parent listens. Callers reach it by what ends their TLS on the host, or from caller_security_group_ids. What ends TLS, or balances, belongs into trusted_proxies (addresses, or address/bits): else all who come through it are one caller, with one caller's share."
  type = object({
    host            = optional(string, "127.0.0.1")
    port            = optional(number, 8080)
    trusted_proxies = optional(list(string), [])
  })
  default = {}
}

variable "caller_security_group_ids" {
  description = "Who may connect to the parent's port. Nobody unless given; then http.host must be 0.0.0.0."
  type        = list(string)
  default     = []
}

variable "records_volume_gib" {
  description = "Size of the volume that holds the records."
  type        = number
  default     = 20
}

variable "session_manager" {
  description = "Whether Session Manager may open a shell. Whoever may use it is root of the parent, and can stop the service."
  type        = bool
  default     = false
}

variable "key" {
  description = "As deploy/terraform/kms-key takes them."
  type = object({
    account_id           = string
    break_glass_role_arn = string
    administrator_arns   = optional(list(string), [])
  })
}

variable "tags" {
  description = "Of everything."
  type        = map(string)
  default     = {}
}
