"""How fast systems translate: ours and others', timed in turn in one run."""
