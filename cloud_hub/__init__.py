"""The cloud hub: takes in what edges send, keeps the care record, and shows it to physicians and caregivers."""
