variable "account_id" {
  type = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "Expected an account of 12 digits."
  }
}

variable "role_arn" {
  type = string

  validation {
    condition     = can(regex("^arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", var.role_arn))
    error_message = "Expected arn:aws:iam::<account>:role/<name> without wildcards."
  }
}

variable "break_glass_role_arn" {
  type = string

  validation {
    condition     = can(regex("^arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", var.break_glass_role_arn))
    error_message = "Expected arn:aws:iam::<account>:role/<name> without wildcards."
  }
}

variable "administrator_arns" {
  type = list(string)

  validation {
    condition = alltrue([
      for arn in var.administrator_arns :
      can(regex("^arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))
    ])
    error_message = "Expected arn:aws:iam::<account>:role|user/<name> without wildcards."
  }
}

variable "pcr_sets" {
  type = list(map(string))

  validation {
    condition = alltrue(flatten([
      for set in var.pcr_sets : [
        for index, hex in set :
        can(regex("^([0-9]|[12][0-9]|3[01])$", index)) && can(regex("^[0-9A-Fa-f]{96}$", hex)) && !can(regex("^0+$", hex))
      ]
    ]))
    error_message = "Expected PCRs 0 to 31 of 96 hex digits, not all zeros: those are a debug enclave's."
  }

  validation {
    condition = alltrue([
      for set in var.pcr_sets :
      contains(keys(set), "0") || (contains(keys(set), "8") && contains(keys(set), "3"))
    ])
    error_message = "Expected PCR0, or PCR8 and PCR3, in every set."
  }

  validation {
    condition     = length(var.pcr_sets) <= 4 && alltrue([for set in var.pcr_sets : length(set) <= 5])
    error_message = "Expected at most 4 sets of at most 5 PCRs."
  }
}
