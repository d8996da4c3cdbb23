"""Made-up patients with known truth: what a task is trained on and measured with where no real data may be had."""
