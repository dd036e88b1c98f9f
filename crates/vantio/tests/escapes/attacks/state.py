state = sys.argv[1]
attempt("list", lambda: len(os.listdir(state)) > 0)
attempt("make", lambda: os.mkdir(state + "/made"))
attempt("move", lambda: os.rename(state, "taken"))
for path in sys.argv[2:]:
    attempt(f"read {path}", lambda: len(read(path)) > 0)
    attempt(f"write {path}", lambda: open_for_writing(path))
    attempt(f"truncate {path}", lambda: os.truncate(path, 0))
    attempt(f"remove {path}", lambda: os.unlink(path))
    attempt(f"replace {path}", lambda: os.rename("attack.py", path))
    attempt(f"link {path}", lambda: os.link(path, "taken"))


def uncover():
    """The state folder under another name, where nothing hides it."""
    above, name = os.path.split(state)
    os.rename(above, above + "-moved")
    return len(os.listdir(f"{above}-moved/{name}")) > 0


attempt("move what holds it", uncover)
