variable "account_id" {
  description = "The key's account, 12 digits. Best one of its own, whose administrators do not run the enclave."
  type        = string
}

variable "role_arn" {
  description = "The parent instance's role, whose credentials the enclave uses. May be another account's."
  type        = string
}

variable "break_glass_role_arn" {
  description = "The only role that may change the policy or destroy the key. Apply this module as this role."
  type        = string
}

variable "administrator_arns" {
  description = "Roles or users of the key's account that may describe and tag the key, and so run `terraform plan`."
  type        = list(string)
  default     = []
}

variable "pcr_sets" {
  description = "Any one of these sets admits: PCR0, or PCR8 and PCR3, and any others, such as [{ \"0\" = \"9f…\" }]. Empty: nobody may use the key."
  type        = list(map(string))
}

variable "deletion_window_in_days" {
  description = "How long a deletion can be taken back."
  type        = number
  default     = 30
}

variable "bypass_policy_lockout_safety_check" {
  description = "True only where somebody other than the break-glass role creates the key: KMS then asks nobody whether he will be able to change the policy, and he will not."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of the key. The policy does not look at tags."
  type        = map(string)
  default     = {}
}
