"""Train networks on images held on the device. May import artifacts, networks and below; knows no distillation."""
