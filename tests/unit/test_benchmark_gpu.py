"""The benchmark of a GPU reports what ends badly, whatever that has written before."""

from benchmarks.engine.gpu import Module, finish, wait_until_ready

NOISY = 'import sys; sys.stderr.write("x" * 200_000); print("ready", flush=True); input(); sys.exit("\\nit broke")'


def test_what_ends_with_an_error_says_so_and_is_not_blocked_by_what_it_writes(tmp_path, monkeypatch):
    (tmp_path / "noisy.py").write_text(NOISY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for ended_well, why in (((0,), "it broke"), ((0, 1, 3), "")):
        process = Module(["noisy"])
        wait_until_ready([process], 60)
        assert finish(process, 60, ended_well) == ("", why)
