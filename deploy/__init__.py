"""How the product is set up: the demo, brokers, services.  Nothing here is imported by edge or hub."""
