"""Firefox as it is installed, driven by its own protocol, WebDriver BiDi: Playwright 1.65 asks for more than it has."""

import contextlib
import itertools
import json
import os
import re
import subprocess

import servers
import websocket  # comes with JupyterLab's server

# No question before the first page, and nothing that it asks of the network by itself.
PREFERENCES = {
    "app.normandy.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.startup.homepage": "about:blank",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "widget.gtk.overlay-scrollbars.enabled": False,  # scroll bars that take room, as on Windows
}
LISTENS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class Firefox:
    """One window without a screen. `evaluate` is that of Playwright's page, so that helpers can serve both."""

    def __init__(self, program, folder):
        profile = folder / "profile"
        profile.mkdir()
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
        (profile / "user.js").write_text("".join(lines))
        log = folder / "log"
        options = ["--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile]
        with log.open("w") as written:
            # HOME: root's Firefox wants one that is root's own.
            environment = os.environ | {"HOME": str(folder)}
            self.process = subprocess.Popen([program, *options], stdout=written, stderr=written, env=environment)
        self.socket, self.numbers, self.logged = None, itertools.count(1), []
        try:
            address = servers.wait(self.process, log, lambda: LISTENS.search(log.read_text()))[1]
            self.socket = websocket.create_connection(f"{address}/session", suppress_origin=True, timeout=120)
            self.send("session.new", capabilities={})
            self.send("session.subscribe", events=["log.entryAdded"])
            self.window = self.send("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:  # nobody else could stop it
            self.close()
            raise

    def send(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != number:
            if answer.get("method") == "log.entryAdded":
                self.logged.append(answer["params"])
        assert answer["type"] == "success", answer
        return answer["result"]

    def open(self, path, width, height):
        self.send("browsingContext.setViewport", context=self.window, viewport={"width": width, "height": height})
        self.send("browsingContext.navigate", context=self.window, url=path.as_uri(), wait="complete")

    def evaluate(self, code, *arguments):
        """The value of an expression, or what a function returns, by way of JSON."""
        function = f"""(...given) => {{
            const it = ({code});
            return JSON.stringify(typeof it === "function" ? it(...given.map(JSON.parse)) : it);
        }}"""
        done = self.send(
            "script.callFunction",
            functionDeclaration=function,
            arguments=[{"type": "string", "value": argument} for argument in map(json.dumps, arguments)],
            target={"context": self.window},
            awaitPromise=False,
        )
        assert done["type"] == "success", done["exceptionDetails"]["text"]
        return json.loads(done["result"].get("value", "null"))

    def mouse(self, *actions):
        """Move to (x, y), and press or let go where it says "down" or "up"."""
        steps = []
        for action in actions:
            if isinstance(action, str):
                steps.append({"type": f"pointer{action.title()}", "button": 0})
            else:
                steps.append({"type": "pointerMove", "x": round(action[0]), "y": round(action[1]), "duration": 50})
        pointer = {"type": "pointer", "id": "mouse", "actions": steps}
        self.send("input.performActions", context=self.window, actions=[pointer])

    def close(self):
        if self.socket:
            with contextlib.suppress(Exception):
                self.send("browser.close")
            self.socket.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
