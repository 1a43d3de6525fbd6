"""Writers that are killed, or whose disk is full, at 50 moments of chance: old or new results, whole."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes with signals, and forks them"),
]

# One process has all that writers need in memory; those that are killed are its children, and do nothing but write.
SCRIPT = """
    import json, os, random, resource, signal, sys, time, traceback, warnings
    from pathlib import Path

    import numpy as np

    from degmm import EGMM, datasets, load, save
    from degmm.files import write_bytes
    from degmm.folders import finish, output_folder

    warnings.simplefilter("ignore")  # that JAX's threads do not go with a child, who has no use for them
    what, how, folder, rounds = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    rng, parent = random.Random(f"{what} {how}"), os.getpid()
    X = datasets.make_exchangeable_mixture(60, 4, 2, 2, seed=0)[0]
    models = {K: EGMM(K, n_init=1, max_iter=2, tol=0, random_state=0).fit(X) for K in (2, 3)}
    names = {2: ["a.txt", "b.txt"], 3: ["b.txt", "c.txt"]}

    def write(K):
        if what == "model":
            save(models[K], folder)
            return
        with output_folder(folder) as staged:
            save(models[K], staged)
            for name in names[K]:
                write_bytes(staged / name, b"%d" % K * 20_000)
            files = [*(path.name for path in staged.iterdir()), "run.json"]
            write_bytes(staged / "run.json", json.dumps({"command": "fit", "files": files, "K": K}).encode())

    def check():
        K = load(folder).n_components  # whoever reads it
        assert (load(folder).means_ == models[K].means_).all()
        if what == "folder":
            finish(folder)
            run = json.loads((folder / "run.json").read_text())
            assert run["K"] == load(folder).n_components == K
            there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
            assert there == set(run["files"]), (there, run)
            for name in names[K]:
                assert (folder / name).read_bytes() == b"%d" % K * 20_000
        return K

    def child(K):
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if how == "full disk":
                largest = max(path.stat().st_size for path in folder.iterdir())
                most = rng.randrange(largest * 4 // 3)
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
                write(K)
            while how != "full disk" and os.getppid() == parent:
                write(K)
                K = 5 - K
        except (KeyboardInterrupt, OSError, ValueError):
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def end(pid):
        number = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}.get(how, signal.SIGKILL)
        done = status = 0
        while not done:
            if how != "full disk":
                os.kill(pid, number)  # an interrupt may be lost
                deadline = time.monotonic() + 1
                while not done and time.monotonic() < deadline:
                    done, status = os.waitpid(pid, os.WNOHANG)
                    time.sleep(0.001)
            else:
                done, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status

    write(2)
    seen = [2]
    for turn in range(rounds):
        children = [child(5 - seen[-1])] + ([child(seen[-1])] if how == "two writers" else [])
        stop = time.monotonic() + rng.uniform(0.0, 0.08)
        while how != "full disk" and time.monotonic() < stop:
            load(folder)  # beside them
        for pid in children:
            end(pid)
        seen.append(check())
    write(2)
    assert check() == 2
    left = {path.name for path in folder.iterdir()}
    wanted = {"model.json", *(["a.txt", "b.txt", "run.json"] if what == "folder" else [])}
    assert len(left) == len(wanted) + 1 and wanted < left, left  # and its arrays
    assert set(seen) == {2, 3}, seen
    print(len(seen) - 1)
"""


@pytest.mark.parametrize("what", ["model", "folder"])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT", "full disk", "two writers"])
def test_old_or_new_results_are_whole(what, how, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), what, how, str(tmp_path / "out"), "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "50\n"), done.stderr
