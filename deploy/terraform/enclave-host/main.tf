# An EC2 instance that runs one enclave, the role whose credentials the enclave uses, and the key that only the enclave
# opens. What can be decided without AWS is decided in ./launch, where a test can ask Terraform for it.

data "aws_region" "this" {}
data "aws_partition" "this" {}

data "aws_subnet" "this" {
  id = var.subnet_id
}

data "aws_ssm_parameter" "ami" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${var.architecture}"
}

module "launch" {
  source = "./launch"

  region             = data.aws_region.this.name
  partition          = data.aws_partition.this.partition
  instance_type      = var.instance_type
  architecture       = var.architecture
  enclave            = var.enclave
  artifacts_bucket   = var.artifacts_bucket
  release            = var.release
  image              = var.image
  pcr_sets           = var.pcr_sets
  egress_allow       = var.egress_allow
  http               = var.http
  has_callers        = length(var.caller_security_group_ids) > 0
  key_arn            = module.vault_key.key_arn
  records_volume_id  = aws_ebs_volume.records.id
  records_volume_gib = var.records_volume_gib
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = "Cloister: the parent of an enclave, which uses these credentials towards KMS"
  assume_role_policy   = module.launch.trust_policy
  max_session_duration = 3600
  tags                 = var.tags
}

resource "aws_iam_role_policy" "this" {
  name   = "cloister"
  role   = aws_iam_role.this.id
  policy = module.launch.role_policy
}

resource "aws_iam_role_policy_attachment" "session_manager" {
  count = var.session_manager ? 1 : 0

  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.this.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "this" {
  name = var.name
  role = aws_iam_role.this.name
  tags = var.tags
}

module "vault_key" {
  source    = "../kms-key"
  providers = { aws = aws.key }

  account_id           = var.key.account_id
  role_arn             = aws_iam_role.this.arn
  break_glass_role_arn = var.key.break_glass_role_arn
  administrator_arns   = var.key.administrator_arns
  pcr_sets             = module.launch.pcr_sets
  tags                 = var.tags
}

resource "aws_security_group" "this" {
  name        = var.name
  description = "Cloister: nobody in but the callers named, out on 443 alone"
  vpc_id      = data.aws_subnet.this.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "callers" {
  for_each = toset(var.caller_security_group_ids)

  security_group_id            = aws_security_group.this.id
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = var.http.port
  to_port                      = var.http.port
  tags                         = var.tags
}

# KMS, S3 and identity providers. Names, time and metadata come from link-local addresses, which no group filters.
resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = { ipv4 = "0.0.0.0/0", ipv6 = "::/0" }

  security_group_id = aws_security_group.this.id
  cidr_ipv4         = each.key == "ipv4" ? each.value : null
  cidr_ipv6         = each.key == "ipv6" ? each.value : null
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = var.tags
}

# Apart from the instance, which every change of the image replaces.
resource "aws_ebs_volume" "records" {
  availability_zone = data.aws_subnet.this.availability_zone
  size              = var.records_volume_gib
  type              = "gp3"
  encrypted         = true
  tags              = merge(var.tags, { Name = "${var.name}-records" })

  lifecycle {
    # With the records goes every wallet.
    prevent_destroy = true
  }
}

resource "aws_instance" "this" {
  count = var.image == null ? 0 : 1

  ami                         = coalesce(var.ami_id, data.aws_ssm_parameter.ami.value)
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  associate_public_ip_address = false
  vpc_security_group_ids      = [aws_security_group.this.id]
  iam_instance_profile        = aws_iam_instance_profile.this.name
  user_data                   = module.launch.user_data
  user_data_replace_on_change = true
  tags                        = merge(var.tags, { Name = var.name })

  enclave_options {
    enabled = true
  }

  metadata_options {
    http_endpoint = "enabled"
    # A process that is made to fetch a URL cannot send the PUT that version 2 wants.
    http_tokens = "required"
    # The parent runs on the host. A container would need 2.
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  root_block_device {
    encrypted   = true
    volume_type = "gp3"
    volume_size = 16
    tags        = var.tags
  }

  lifecycle {
    # A newer Amazon Linux is a decision, not a side effect.
    ignore_changes = [ami]
  }

  depends_on = [aws_iam_role_policy.this]
}

resource "aws_volume_attachment" "records" {
  count = var.image == null ? 0 : 1

  device_name                    = "/dev/sdf"
  volume_id                      = aws_ebs_volume.records.id
  instance_id                    = aws_instance.this[0].id
  stop_instance_before_detaching = true
}
