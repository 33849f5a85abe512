"""Flow runs that wait for their jobs without a process, and the watcher that resumes them."""
