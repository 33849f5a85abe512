"""Compare the loopback Azure ML service with recorded answers of the real one."""
