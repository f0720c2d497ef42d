"""The kernel of one notebook, for extension.js: orders come in, the kernel's messages go out, a line of JSON each."""

import json
import os
import queue
import sys
import threading

from jupyter_client import KernelManager


def listen(manager, codes):
    """Take orders until nobody is there to give any."""
    for line in sys.stdin:
        order = json.loads(line)
        if "interrupt" in order:
            manager.interrupt_kernel()
        else:
            codes.put(order["code"])
    manager.shutdown_kernel(now=True)
    os._exit(0)  # the main thread waits for a message that will not come


def say(message):
    print(json.dumps({"type": message["msg_type"], "content": message["content"]}, default=str), flush=True)


def answers(get_message, asked):
    """What the kernel says to one request, and not to those before it."""
    while True:
        message = get_message()
        if message["parent_header"].get("msg_id") == asked:
            yield message


def run(client, code):
    """Run `code`, and pass on what the kernel shows meanwhile; its reply comes last."""
    asked = client.execute(code)
    for message in answers(client.get_iopub_msg, asked):
        if message["content"].get("execution_state") == "idle":
            break
        say(message)
    say(next(answers(client.get_shell_msg, asked)))


def main(folder):
    manager = KernelManager()
    manager.start_kernel(cwd=folder)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    codes = queue.Queue()
    threading.Thread(target=listen, args=(manager, codes), daemon=True).start()
    while True:
        run(client, codes.get())


if __name__ == "__main__":
    main(sys.argv[1])
