"""Commands of the export package; each imports what is heavy inside its body."""
