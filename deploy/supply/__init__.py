"""What the product is made of: software bills of materials, licences, locked hashes."""
