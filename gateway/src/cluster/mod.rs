//! Clusters at run time: endpoints, priorities, load balancing, circuit breakers.
