"""What the distillation methods are compared with: one file each."""
