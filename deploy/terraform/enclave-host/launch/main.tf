# What needs no provider: policies and user data as text.

locals {
  kms_host = "kms.${var.region}.amazonaws.com${startswith(var.region, "cn-") ? ".cn" : ""}"

  is_graviton = can(regex("^[a-z]+[0-9]+g", var.instance_type))
  # Two threads to a core on Intel, and on AMD before its seventh generation.
  has_threads = !local.is_graviton && !can(regex("^[a-z]+([7-9]|[1-9][0-9])a", var.instance_type))

  enclave_json = jsonencode({
    enclave_name = "cloister"
    cpu_count    = var.enclave.cpu_count
    memory_mib   = var.enclave.memory_mib
    eif_path     = "/opt/cloister-image/cloister.eif"
    enclave_cid  = var.enclave.cid
    debug_mode   = false
  })

  parent_json = jsonencode({
    vsock       = { kind = "af-vsock", enclaveCid = var.enclave.cid }
    http        = { host = var.http.host, port = var.http.port, trustedProxies = var.http.trusted_proxies }
    records     = { kind = "sqlite", file = "/var/lib/cloister/records.sqlite" }
    egress      = { allow = concat(["${local.kms_host}:443"], var.egress_allow) }
    credentials = { kind = "aws" }
  })

  # Where the host itself asks: at any address stands for its own, and at one address nobody listens on another.
  http_host = lookup({ "0.0.0.0" = "127.0.0.1", "::" = "::1" }, var.http.host, var.http.host)
  http_url  = "http://${strcontains(local.http_host, ":") ? "[${local.http_host}]" : local.http_host}:${var.http.port}"

  artifacts = concat([var.release.key], var.image == null ? [] : [var.image.key])
}

output "trust_policy" {
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com${var.partition == "aws-cn" ? ".cn" : ""}" }
      Action    = "sts:AssumeRole"
    }]
  })
}

# The key policy has the conditions: which image, and that there is a document at all.
output "role_policy" {
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "OpenTheVault"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = var.key_arn
      },
      {
        Sid      = "FetchReleaseAndImage"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = [for key in local.artifacts : "arn:${var.partition}:s3:::${var.artifacts_bucket}/${key}"]
      },
    ]
  })
}

output "pcr_sets" {
  value = var.pcr_sets != null ? var.pcr_sets : (
    var.image == null ? [] : [{ "0" = jsondecode(var.image.measurements).Measurements.PCR0 }]
  )
}

output "user_data" {
  value = var.image == null ? "" : templatefile("${path.module}/user-data.sh.tftpl", {
    region            = var.region
    bucket            = var.artifacts_bucket
    release           = var.release
    image             = var.image
    memory_mib        = var.enclave.memory_mib
    cpu_count         = var.enclave.cpu_count
    http_url          = local.http_url
    records_volume_id = var.records_volume_id
    files = {
      "enclave.json"      = local.enclave_json
      "parent.json"       = local.parent_json
      "measurements.json" = var.image.measurements
      "cloister.yaml"     = var.image.manifest
    }
  })

  precondition {
    condition     = !local.has_threads || var.enclave.cpu_count % 2 == 0
    error_message = "This instance type has two threads to a core, and an enclave takes whole cores: give it an even cpu_count."
  }

  precondition {
    condition     = local.is_graviton == (var.architecture == "arm64")
    error_message = "The architecture is not the instance type's."
  }

  precondition {
    condition     = !var.has_callers || var.http.host != "127.0.0.1"
    error_message = "Callers are let in, but the parent listens on 127.0.0.1: set http.host to 0.0.0.0."
  }

  precondition {
    condition     = var.image == null || length(try(var.image.manifest, "")) <= 8192
    error_message = "EC2 takes 16 KiB of user data: this manifest is too long for it."
  }
}
