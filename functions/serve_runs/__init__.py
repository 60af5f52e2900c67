"""RunsFunction: answers every request that the load balancer forwards."""
