"""What leaves a bank again, and why: every drop has a reason and is counted."""
