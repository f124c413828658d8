variable "region" {
  type = string
}

variable "partition" {
  type = string
}

# EC2 User Guide and Nitro Enclaves User Guide, "Requirements": virtual Nitro instances, not burstable, no bare metal; 4
# vCPUs or more on Intel and AMD, 2 or more on Graviton. AWS's page rules where it differs.
variable "instance_type" {
  type = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "Expected an instance type, such as m6i.xlarge."
  }

  validation {
    condition     = !can(regex("^t[1-9]", var.instance_type))
    error_message = "Burstable instances run no enclaves."
  }

  validation {
    condition     = !can(regex("\\.metal", var.instance_type)) && !can(regex("^mac", var.instance_type))
    error_message = "Bare metal runs no enclaves."
  }

  validation {
    condition     = !can(regex("^(m[1-4]|c[1-4]|r[34]|x1e?|i2|d2|h1|p[23]|g[23]|f1|cc2|cr1|hs1)\\.", var.instance_type))
    error_message = "This generation is not built on Nitro."
  }

  validation {
    condition     = !can(regex("^(a1|g4ad|g5g|vt1|trn[0-9].*|inf[0-9].*|hpc[0-9].*|u-.*|u7.*|[a-z0-9]+-flex)\\.", var.instance_type))
    error_message = "This family runs no enclaves."
  }

  validation {
    condition     = !can(regex("\\.(nano|micro|small|medium)$", var.instance_type))
    error_message = "Too small: one vCPU leaves none for the parent."
  }

  # Graviton's families have a g after the generation: m6g, c7gn, x2gd.
  validation {
    condition     = !can(regex("\\.large$", var.instance_type)) || can(regex("^[a-z]+[0-9]+g", var.instance_type))
    error_message = "Too small: on Intel and AMD an enclave needs an instance of 4 vCPUs, xlarge or more."
  }
}

variable "architecture" {
  type = string

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "Expected x86_64 or arm64."
  }
}

variable "enclave" {
  type = object({
    memory_mib = optional(number, 1024)
    cpu_count  = optional(number, 2)
    cid        = optional(number, 16)
  })

  validation {
    condition     = var.enclave.memory_mib >= 64 && floor(var.enclave.memory_mib) == var.enclave.memory_mib
    error_message = "Expected memory_mib of 64 or more: four times the image."
  }

  validation {
    condition     = var.enclave.cpu_count >= 1 && floor(var.enclave.cpu_count) == var.enclave.cpu_count
    error_message = "Expected cpu_count of 1 or more."
  }

  validation {
    condition     = var.enclave.cid >= 4 && var.enclave.cid <= 4294967294 && floor(var.enclave.cid) == var.enclave.cid
    error_message = "Expected a CID of 4 or more: those below are taken."
  }
}

variable "artifacts_bucket" {
  type = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.artifacts_bucket))
    error_message = "Expected the name of an S3 bucket."
  }
}

variable "release" {
  type = object({
    key    = string
    sha256 = string
  })

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]{1,512}$", var.release.key)) && can(regex("^[0-9a-f]{64}$", var.release.sha256))
    error_message = "Expected a key of letters, digits and ._/- and a SHA-256 of 64 lower-case hex digits."
  }
}

variable "image" {
  type = object({
    key          = string
    sha256       = string
    measurements = string
    manifest     = string
  })

  validation {
    condition     = var.image == null || (can(regex("^[A-Za-z0-9._/-]{1,512}$", var.image.key)) && can(regex("^[0-9a-f]{64}$", var.image.sha256)))
    error_message = "Expected a key of letters, digits and ._/- and a SHA-256 of 64 lower-case hex digits."
  }

  validation {
    condition     = var.image == null || can(regex("^[0-9a-f]{96}$", jsondecode(var.image.measurements).Measurements.PCR0))
    error_message = "Expected the text of measurements.json, with a PCR0 of 96 lower-case hex digits."
  }
}

variable "pcr_sets" {
  type = list(map(string))
}

variable "egress_allow" {
  type = list(string)

  validation {
    condition = alltrue([
      for destination in var.egress_allow : can(regex("^[a-z0-9.-]{1,253}:[1-9][0-9]{0,4}$", destination))
    ])
    error_message = "Expected host:port in lower case."
  }
}

variable "http" {
  type = object({
    host            = optional(string, "127.0.0.1")
    port            = optional(number, 8080)
    trusted_proxies = optional(list(string), [])
  })

  validation {
    condition     = var.http.port >= 1024 && var.http.port <= 65535 && floor(var.http.port) == var.http.port
    error_message = "Expected a port from 1024: the parent has no capability to take one below."
  }

  validation {
    condition     = can(regex("^[0-9a-f.:]+$", var.http.host))
    error_message = "Expected an address."
  }

  # An address without bits is a network of one. What Terraform does not take, the parent does not either.
  validation {
    condition = length(var.http.trusted_proxies) <= 64 && alltrue([
      for proxy in var.http.trusted_proxies :
      can(cidrhost(strcontains(proxy, "/") ? proxy : "${proxy}/${strcontains(proxy, ":") ? 128 : 32}", 0))
    ])
    error_message = "Expected at most 64 proxies, each an address, or address/bits."
  }
}

variable "has_callers" {
  type = bool
}

variable "key_arn" {
  type = string
}

variable "records_volume_id" {
  type = string
}

variable "records_volume_gib" {
  type = number

  validation {
    condition     = var.records_volume_gib >= 1 && floor(var.records_volume_gib) == var.records_volume_gib
    error_message = "Expected whole GiB."
  }
}
