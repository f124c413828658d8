module "policy" {
  source = "./policy"

  account_id           = var.account_id
  role_arn             = var.role_arn
  break_glass_role_arn = var.break_glass_role_arn
  administrator_arns   = var.administrator_arns
  pcr_sets             = var.pcr_sets
}

resource "aws_kms_key" "this" {
  description = "Cloister: opens the vault of attested enclaves"
  policy      = module.policy.json

  key_usage                          = "ENCRYPT_DECRYPT"
  customer_master_key_spec           = "SYMMETRIC_DEFAULT"
  enable_key_rotation                = true
  deletion_window_in_days            = var.deletion_window_in_days
  bypass_policy_lockout_safety_check = var.bypass_policy_lockout_safety_check
  tags                               = var.tags

  # A replica would have a key policy of its own.
  multi_region = false

  lifecycle {
    # With the key goes every wallet.
    prevent_destroy = true
  }
}
