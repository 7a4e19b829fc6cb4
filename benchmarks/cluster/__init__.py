"""What the distributed form costs: five services over real PostgreSQL, Redis and RabbitMQ on one machine."""
