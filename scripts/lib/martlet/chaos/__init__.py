"""What `scripts/chaos` is made of: a network to break, a world of servers in it, faults, clients
that write down what they were told, and the reading back of it all."""
