"""What training minimises. Import from the modules: `objectives.clip`, `objectives.regression`."""
