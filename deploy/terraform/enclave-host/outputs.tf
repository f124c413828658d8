output "key_arn" {
  description = "For kmsKeyArn in the image's cloister.yaml."
  value       = module.vault_key.key_arn
}

output "key_policy" {
  description = "For `cloister kms-policy lint -` and `cloister doctor --key-policy`."
  value       = module.vault_key.policy_json
}

output "role_arn" {
  description = "For `cloister kms-policy`."
  value       = aws_iam_role.this.arn
}

output "instance_id" {
  description = "Null while there is no image."
  value       = one(aws_instance.this[*].id)
}

output "private_ip" {
  description = "Null while there is no image."
  value       = one(aws_instance.this[*].private_ip)
}

output "security_group_id" {
  description = "Of the instance, for rules of your own."
  value       = aws_security_group.this.id
}

output "records_volume_id" {
  description = "For backups."
  value       = aws_ebs_volume.records.id
}
