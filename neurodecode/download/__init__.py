"""Public cohorts onto this machine: what a host has, and transfers that resume and are checked."""
