"""What becomes of content whose time is over: it goes, and what it did to members, titles and seqs stays."""
