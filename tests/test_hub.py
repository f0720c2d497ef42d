"""A hub for a class: a real JupyterHub with the teacher's guide's own settings, and a learner in a real browser.

What Kubernetes does, it does with folders here: the image's course in one place, the learner's storage in another.
"""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import urllib.request

import environments
import nbformat
import psutil
import pytest
import servers
import yaml
from lab_page import DONE, MINUTES, OUTPUTS, run_all, text_of

pytestmark = [pytest.mark.environments, pytest.mark.browser]

CHART = yaml.safe_load(re.search(r"```yaml\n(.*?)```", environments.GUIDE, re.DOTALL)[1])
# Where the guide has repo2docker put the course, and what it calls the image.
IN_THE_IMAGE, IMAGE = re.search(r"--target-repo-dir (\S+) --image-name (\S+) ", environments.GUIDE).groups()
HOME = "/home/jovyan"  # as the guide's settings name it
SETTINGS = """
import pathlib
import subprocess

c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.Spawner.args = ["--LabApp.expose_app_in_browser=True", "--allow-root"]
c.Spawner.environment = {environment!r}
c.Spawner.notebook_dir = {notebook_dir!r}
c.Spawner.default_url = {default_url!r}
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120  # until the learner's own server answers


def first_start(spawner):
    home = pathlib.Path({homes!r}, spawner.user.name)
    home.mkdir(parents=True, exist_ok=True)
    subprocess.run({command!r}, env={environment!r} | {{"HOME": str(home)}}, check=True)


c.Spawner.pre_spawn_hook = first_start
"""
POD = """
import asyncio
import json
import logging
import sys

from kubernetes_asyncio.client import ApiClient
from kubespawner import KubeSpawner
from traitlets.config import Config


async def main():
    logging.basicConfig()  # a setting that KubeSpawner does not know is worth a warning to it
    spawner = KubeSpawner(config=Config(KubeSpawner=json.load(sys.stdin)), _mock=True)
    pod = await spawner.get_pod_manifest()
    async with ApiClient() as client:
        print(json.dumps(client.sanitize_for_serialization(pod)))


asyncio.run(main())
"""
NO_CLUSTER = """
apiVersion: v1
kind: Config
current-context: none
contexts: [{name: none, context: {cluster: none, user: none}}]
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {}}]
"""


class Hub:
    """A JupyterHub on this machine only, set up as the guide's lines for Kubernetes say."""

    def __init__(self, folder):
        self.folder, self.course, self.homes = folder, folder / "course", folder / "homes"
        single = CHART["singleuser"]
        command = single["lifecycleHooks"]["postStart"]["exec"]["command"]
        assert f"python {IN_THE_IMAGE}/" in command[-1]
        port, hub_port, proxy_port = servers.free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        settings = SETTINGS.format(
            port=port,
            hub_port=hub_port,
            proxy_port=proxy_port,
            proxy=[str(folder / "node_modules" / ".bin" / "configurable-http-proxy")],
            homes=str(self.homes),
            environment={"PATH": environments.variables(folder)["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            notebook_dir=CHART["hub"]["config"]["KubeSpawner"]["notebook_dir"].replace(
                HOME, f"{self.homes}/{{username}}"
            ),
            default_url=single["defaultUrl"],
            command=[word.replace(IN_THE_IMAGE, str(self.course)) for word in command],
        )
        state = folder / "state"
        state.mkdir()
        (state / "jupyterhub_config.py").write_text(settings)
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = psutil.Popen(
                [folder / "venv" / "bin" / "jupyterhub"],
                cwd=state,
                env=environments.variables(folder),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            servers.wait(self.process, self.log, self._answers)
        except BaseException:  # nobody else could stop it
            self.close()
            raise

    def _answers(self):
        """Whether the hub itself answers; its proxy does so earlier."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/hub/login", timeout=5):
            return True

    def close(self):
        servers.end(self.process)


@pytest.fixture(scope="module")
def hub(browser, tmp_path_factory):
    if shutil.which("npm") is None:
        pytest.skip("npm, which brings the hub's proxy, is not installed")
    folder = environments.make(tmp_path_factory.mktemp("hub"), "jupyterhub", "jupyterhub-kubespawner")
    built = environments.run(folder, "./postBuild")
    assert built.returncode == 0, built.stdout + built.stderr
    fetch = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "configurable-http-proxy"]
    subprocess.run(fetch, check=True)
    started = Hub(folder)
    yield started
    started.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(2 * MINUTES)
    yield context.new_page()
    context.close()


def files(folder):
    """Every file below, with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def log_in(hub, page, name):
    """From the hub's door to the notebook that it opens."""
    page.goto(f"{hub.url}/hub/login")
    page.fill("#username_input", name)
    page.fill("#password_input", "anything")
    page.click("#login_submit")
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")


def open_notebook(hub, page, name, notebook):
    page.goto(f"{hub.url}/user/{name}/lab/tree/lenet/{notebook}?reset")
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")
    page.wait_for_function("() => jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.status == 'idle'")


def test_a_learner_finds_the_notebooks_and_keeps_what_they_change(hub, page):
    before = files(hub.course)
    log_in(hub, page, "ada")
    assert page.url.partition("?")[0] == f"{hub.url}/user/ada/lab/tree/lenet/0_start_here.ipynb"

    open_notebook(hub, page, "ada", "1_reshape.ipynb")
    run_all(page)
    mine = hub.homes / "ada" / "lenet" / "1_reshape.ipynb"
    cells = nbformat.read(mine, as_version=4).cells  # as it was handed out: nothing is saved yet
    assert not any("<details>" in cell.source for cell in cells)
    for cell, outputs in zip(cells, page.evaluate(OUTPUTS)):
        kinds = [output["output_type"] for output in outputs]
        assert kinds == [output["output_type"] for output in cell.get("outputs", [])], cell.source
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")

    assert nbformat.read(mine, as_version=4).cells != cells
    assert files(hub.course) == before  # nothing was written there

    kept = mine.read_bytes()
    stop_and_start(hub, page, "ada")
    assert mine.read_bytes() == kept


def stop_and_start(hub, page, name):
    """The learner's own server, as a hub does it that stops those which nobody uses."""
    page.goto(f"{hub.url}/hub/home")
    page.click("#stop")
    page.wait_for_selector("#start:has-text('Start My Server')")
    page.click("#start")
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")


def test_the_course_is_the_one_in_the_image(hub, page):
    """The learner's folder has notebooks and licences only: `lenet_utils` comes from where postBuild installed it."""
    log_in(hub, page, "grace")
    home = hub.homes / "grace" / "lenet"
    found = {path.name for path in home.iterdir()} - {".ipynb_checkpoints"}  # JupyterLab's, soon after a notebook opens
    notebooks = {path.name for path in (hub.course / "notebooks").glob("*.ipynb")}
    assert found == notebooks | {"LICENSE", "LICENSE-pictures"}
    page.evaluate("jupyterapp.commands.execute('notebook:create-new', {kernelName: 'python3'})")
    page.wait_for_function("() => jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.status == 'idle'")
    page.evaluate(
        "jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.setSource("
        "'import lenet_utils, d2l; print(lenet_utils.__file__)')"
    )
    page.evaluate("jupyterapp.commands.execute('notebook:run-cell')")
    page.wait_for_function(DONE)
    (outputs,) = page.evaluate(OUTPUTS)
    assert text_of(outputs) == f"{pathlib.Path(hub.course, 'lenet_utils', '__init__.py')}\n"
    assert json.loads((home / "0_start_here.ipynb").read_text("utf-8"))["nbformat"] == 4


def test_kubernetes_gets_a_pod_with_all_of_this(hub):
    """The pod that the real KubeSpawner asks a cluster for, given what the chart hands on to it from our lines."""
    single = CHART["singleuser"]
    handed_on = CHART["hub"]["config"]["KubeSpawner"] | {
        "image": "{name}:{tag}".format(**single["image"]),
        "default_url": single["defaultUrl"],
        "lifecycle_hooks": single["lifecycleHooks"],
        "mem_guarantee": single["memory"]["guarantee"],
        "mem_limit": single["memory"]["limit"],
        "cpu_guarantee": single["cpu"]["guarantee"],
        "cpu_limit": single["cpu"]["limit"],
    }
    cluster = hub.folder / "no-cluster"
    cluster.write_text(NO_CLUSTER)
    done = subprocess.run(
        [hub.folder / "venv" / "bin" / "python", "-c", POD],
        env=environments.variables(hub.folder, KUBECONFIG=str(cluster)),
        input=json.dumps(handed_on),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "not recognized" not in done.stderr, done.stderr
    (container,) = json.loads(done.stdout)["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert container["image"] == IMAGE
    assert container["lifecycle"] == single["lifecycleHooks"]
    assert variables["JUPYTERHUB_ROOT_DIR"] == HOME
    assert variables["JUPYTERHUB_DEFAULT_URL"] == single["defaultUrl"]
    assert container["resources"] == {
        "requests": {"cpu": 0.5, "memory": 2**30},
        "limits": {"cpu": 2, "memory": 2**31},
    }
