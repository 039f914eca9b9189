"""Files that take a place in the students' wheel; nothing of the kit imports them."""
