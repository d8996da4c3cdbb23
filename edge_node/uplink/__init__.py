"""The way to the hub over MQTT: pump, receipts, presence, events, signals; knows the buffer and nothing above."""
