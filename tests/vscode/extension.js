// Stands in for Microsoft's Jupyter extension, which no package registry has: runs a notebook's cells in the Python that
// COURSE_PYTHON names, and hands VS Code what the kernel says as that extension does. VS Code itself does the rest.
"use strict";

const { spawn } = require("child_process");
const path = require("path");
const readline = require("readline");
const vscode = require("vscode");

const { NotebookCellOutput: Output, NotebookCellOutputItem: Item } = vscode;

// Of several forms of one output VS Code shows the first.
const ORDER = ["text/html", "application/javascript", "text/latex", "text/markdown", "image/png", "image/svg+xml", "image/jpeg",
  "application/json", "text/plain"];

function rank(mime) {
  return mime.startsWith("application/vnd.") ? -1 : ORDER.includes(mime) ? ORDER.indexOf(mime) : ORDER.length;
}

function toItem(mime, value) {
  if (mime.startsWith("image/") && mime !== "image/svg+xml") return new Item(Buffer.from(value, "base64"), mime);
  return Item.text(typeof value === "string" ? value : JSON.stringify(value), mime);
}

function toItems(data) {
  return Object.keys(data).sort((a, b) => rank(a) - rank(b)).map((mime) => toItem(mime, data[mime]));
}

// The process beside this one that holds the kernel of one notebook.
class Kernel {
  constructor(notebook) {
    const script = path.join(__dirname, "kernel.py");
    this.process = spawn(process.env.COURSE_PYTHON, [script, path.dirname(notebook.uri.fsPath)]);
    this.process.stderr.on("data", (text) => console.error(String(text)));
    this.lines = readline.createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
    this.displays = new Map(); // outputs that later messages may replace, by their display_id
  }

  send(order) {
    this.process.stdin.write(`${JSON.stringify(order)}\n`);
  }

  async *run(code) {
    this.send({ code });
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) throw new Error("the kernel has ended");
      const message = JSON.parse(value);
      yield message;
      if (message.type === "execute_reply") return;
    }
  }
}

// What one cell shows while it runs.
class Shown {
  constructor(execution, displays) {
    this.execution = execution;
    this.displays = displays;
    this.clearLater = false;
    this.stream = null; // the last output, where more of the same stream is appended
  }

  async clear() {
    this.clearLater = false;
    this.stream = null;
    await this.execution.clearOutput();
  }

  async append(output) {
    if (this.clearLater) await this.clear();
    await this.execution.appendOutput(output);
  }

  async take({ type, content }) {
    if (type === "stream") await this.write(content);
    if (type === "execute_input") this.execution.executionOrder = content.execution_count;
    if (type === "clear_output") await this.clearOutput(content);
    if (type === "update_display_data") await this.update(content);
    if (type === "display_data" || type === "execute_result") await this.display(type, content);
    if (type === "error") await this.fail(content);
  }

  async clearOutput({ wait }) {
    if (wait) this.clearLater = true;
    else await this.clear();
  }

  async write({ name, text }) {
    const item = name === "stderr" ? Item.stderr(text) : Item.stdout(text);
    if (this.clearLater || this.stream?.name !== name) {
      const output = new Output([item], { outputType: "stream" });
      await this.append(output);
      this.stream = { name, output };
    } else {
      await this.execution.appendOutputItems([item], this.stream.output);
    }
  }

  async display(type, { data, metadata, transient, execution_count: executionCount }) {
    this.stream = null;
    const output = new Output(toItems(data), { outputType: type, executionCount, metadata, transient });
    await this.append(output);
    if (transient?.display_id) this.displays.set(transient.display_id, output);
  }

  async update({ data, transient }) {
    const output = this.displays.get(transient.display_id);
    if (output) await this.execution.replaceOutputItems(toItems(data), output);
  }

  async fail({ ename: name, evalue: message, traceback }) {
    this.stream = null;
    await this.append(new Output([Item.error({ name, message, stack: traceback.join("\n") })], { outputType: "error" }));
  }
}

exports.activate = (context) => {
  const kernels = new Map(); // by the notebook's address

  function kernelOf(notebook) {
    const key = notebook.uri.toString();
    if (!kernels.has(key)) kernels.set(key, new Kernel(notebook));
    return kernels.get(key);
  }

  // Whether the cells below may run, too.
  async function run(cell, execution) {
    const kernel = kernelOf(cell.notebook);
    execution.start(Date.now());
    await execution.clearOutput();
    const shown = new Shown(execution, kernel.displays);
    let succeeded = false;
    for await (const message of kernel.run(cell.document.getText())) {
      await shown.take(message);
      succeeded = message.content.status === "ok";
    }
    execution.end(succeeded, Date.now());
    return succeeded || cell.metadata.metadata?.tags?.includes("raises-exception");
  }

  const controller = vscode.notebooks.createNotebookController("course", "jupyter-notebook", "Course");
  controller.supportedLanguages = ["python"];
  controller.supportsExecutionOrder = true;

  controller.executeHandler = async (cells) => {
    const waiting = cells.map((cell) => [cell, controller.createNotebookCellExecution(cell)]);
    let goOn = true;
    for (const [cell, execution] of waiting) {
      if (goOn) {
        goOn = await run(cell, execution);
      } else {
        execution.start();
        execution.end(undefined);
      }
    }
  };
  controller.interruptHandler = (notebook) => kernelOf(notebook).send({ interrupt: true });

  const choose = (notebook) => controller.updateNotebookAffinity(notebook, vscode.NotebookControllerAffinity.Preferred);
  vscode.workspace.notebookDocuments.forEach(choose);
  context.subscriptions.push(controller, vscode.workspace.onDidOpenNotebookDocument(choose));
};
