"""The coverage benchmark's rooms: which architectures, how they are built, how one is measured, where it runs, the page it gives."""
