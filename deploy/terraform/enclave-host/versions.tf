terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"

      # For the key: as the break-glass role, and best of another account. May be the same as aws.
      configuration_aliases = [aws.key]
    }
  }
}
