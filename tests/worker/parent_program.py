"""Has a task done and prints the number of the worker's process: `parent_program.py exit|hang TASK`."""

from __future__ import annotations

import sys
import threading
import time

from exllama_guard.errors import GuardError
from exllama_guard.worker import Worker


def main():
    worker = Worker("worker.scripted_tasks")
    print(worker.call("pid", limit_s=60).value, flush=True)
    if sys.argv[1] == "exit":
        return

    def busy():
        try:
            worker.call(sys.argv[2], limit_s=600)
        except GuardError as error:
            print(error, flush=True)

    threading.Thread(target=busy, daemon=True).start()
    time.sleep(600)


if __name__ == "__main__":
    main()
