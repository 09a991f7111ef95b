"""What training minimises. Import from the modules: `objectives.clip`, `objectives.siglip`, `objectives.regression`."""
