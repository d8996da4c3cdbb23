"""The cloud hub: takes in what edges send, keeps the care record, and shows it to physicians and caregivers."""

from telemed import forks

forks.are_for_programs()
