// Runs the embedded Lean:
// `node launcher.cjs --home DIR [--mount HOST=GUEST]... [--export GUEST=HOST] -- <arguments of lean>`.
//
// Lean writes into its own memory at most; --export copies a folder of that to a folder of the machine
// once Lean has ended well.
//
// The same file is the main thread, every pthread of the wasm program, and a small watchdog. Lean sees
// the library at /lib/lean and each HOST folder at GUEST, all read-only, and nothing else of the machine:
// lean.js gets a `require` of our own, whose `fs` refuses whatever could change a file. The exit code is
// Lean's own, 134 for a memory fault or stack overflow, 137 when its memory is used up.
"use strict";

const { Worker, getEnvironmentData, isMainThread, setEnvironmentData, workerData } = require("node:worker_threads");
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const MEMORY_FAULT = 134;
const OUT_OF_MEMORY = 137;
const PROGRAM = "/bin/lean"; // what Lean takes for its own path
const LIBRARY = "/lib/lean";

// --- what lean.js may use of Node -----------------------------------------------------------------

const WRITING = fs.constants.O_WRONLY | fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_TRUNC
  | fs.constants.O_APPEND;
const READ_PATH = ["lstatSync", "readFileSync", "readdirSync", "readlinkSync", "realpathSync", "statSync", "statfsSync"];
const READ_DESCRIPTOR = ["closeSync", "fstatSync", "readSync"];

function refuse(code, message) {
  throw Object.assign(new Error(message), { code });
}

function readOnly() {
  refuse("EROFS", "read-only file system");
}

// The file system that lean.js gets: files below the folders given, for reading, and the two outputs.
function readOnlyFs(folders) {
  const inside = (file) => {
    const resolved = path.resolve(file);
    const found = folders.some((folder) => resolved === folder || resolved.startsWith(path.join(folder, "/")));
    return found ? resolved : refuse("EACCES", `no access to ${resolved}`);
  };
  const allowed = { constants: fs.constants };
  for (const name of READ_PATH) allowed[name] = (file, ...rest) => fs[name](inside(file), ...rest);
  for (const name of READ_DESCRIPTOR) allowed[name] = fs[name];
  allowed.openSync = (file, flags) => (Number.isInteger(flags) && !(flags & WRITING) ? fs.openSync(inside(file), "r") : readOnly());
  allowed.writeSync = (fd, ...rest) => (fd === 1 || fd === 2 ? fs.writeSync(fd, ...rest) : readOnly());
  return new Proxy(allowed, { get: (target, name) => target[name] ?? readOnly });
}

function guardedRequire(folders) {
  const guarded = readOnlyFs(folders.map((folder) => path.resolve(folder)));
  return (name) => {
    switch (name) {
      case "fs": return guarded;
      case "crypto": case "os": case "util": case "worker_threads": return require("node:" + name);
      // child_process among them: Lean's `IO.Process` gets an error instead of a program.
      default: return refuse("ENOSYS", `lean.js may not use ${name}`);
    }
  };
}

// lean.js reports every step of its own start with console.log; Lean's output goes through file descriptors.
const silentConsole = { ...console, log() {}, warn() {}, error() {}, debug() {}, info() {} };

function runLeanJs(home, folders, Module) {
  const file = path.join(home, "lean.js");
  const names = ["Module", "require", "console", "__filename", "__dirname"];
  const main = vm.compileFunction(fs.readFileSync(file, "utf8"), names, { filename: file });
  main(Module, guardedRequire([home, ...folders]), silentConsole, PROGRAM, path.dirname(PROGRAM));
}

// --- streams --------------------------------------------------------------------------------------

function writeAll(fd, bytes) {
  for (let done = 0; done < bytes.length;) {
    try {
      done += fs.writeSync(fd, bytes, done, bytes.length - done);
    } catch (error) {
      if (error.code === "EPIPE") process.exit(0); // nobody reads us any more
      if (error.code !== "EAGAIN") throw error;
      sleep(1);
    }
  }
}

function sleep(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

// Blocks, so that an idle Lean costs no processor time; a non-blocking stdin is polled instead.
function readSome(buffer) {
  for (let pause = 1; ; pause = Math.min(5, pause + 1)) {
    try {
      return fs.readSync(0, buffer, 0, buffer.length, null);
    } catch (error) {
      if (error.code === "EOF") return 0;
      if (error.code !== "EAGAIN") throw error;
      sleep(pause);
    }
  }
}

// A read gives what has come, never more than asked for: so `getLine` returns as soon as a line is there.
function stdinOperations(original) {
  let chunk = Buffer.alloc(0);
  const read = (_stream, buffer, offset, length) => {
    if (chunk.length === 0) {
      const fresh = Buffer.allocUnsafe(65536);
      chunk = fresh.subarray(0, readSome(fresh));
    }
    const count = Math.min(length, chunk.length);
    buffer.set(chunk.subarray(0, count), offset);
    chunk = chunk.subarray(count);
    return count;
  };
  return { ...original, read };
}

let memoryUsedUp = false;

function stdoutOperations(original) {
  const write = (_stream, buffer, offset, length) => {
    writeAll(1, buffer.subarray(offset, offset + length));
    return length;
  };
  return { ...original, write };
}

// This build of Lean reports each step of its work on stderr; what is left of a line waits for its end.
const CHATTER = /^(\[DEBUG:|  - \/lib\/lean\/|  mainModule\? = )/;
let unfinishedLine = "";

function stderrOperations(original) {
  const write = (_stream, buffer, offset, length) => {
    const lines = (unfinishedLine + Buffer.from(buffer.subarray(offset, offset + length)).toString("latin1")).split("\n");
    unfinishedLine = lines.pop();
    lines.forEach(writeErrorLine);
    return length;
  };
  return { ...original, write };
}

function writeErrorLine(line) {
  if (CHATTER.test(line)) return;
  if (/INTERNAL PANIC: out of memory/.test(line)) memoryUsedUp = true;
  writeAll(2, Buffer.from(line + "\n", "latin1"));
}

function connectStreams(FS) {
  FS.getStream(0).stream_ops = stdinOperations(FS.getStream(0).stream_ops);
  FS.getStream(1).stream_ops = stdoutOperations(FS.getStream(1).stream_ops);
  FS.getStream(2).stream_ops = stderrOperations(FS.getStream(2).stream_ops);
}

// --- the end --------------------------------------------------------------------------------------

function leave(code, line) {
  if (unfinishedLine) writeErrorLine(unfinishedLine);
  if (line) writeAll(2, Buffer.from(`lean: ${line}\n`));
  process.exit(code);
}

// After `--version` or a `main : IO Unit` this build returns the address of Lean's unit value as its code.
function exitCode(code) {
  return code >= 0 && code <= 255 ? code : 0;
}

function die(error) {
  const text = error?.errno === undefined ? String(error?.message ?? error) : `file system error ${error.errno}`;
  if (error?.name === "ExitStatus") leave(exitCode(error.status));
  if (memoryUsedUp || /OOM|enlarge memory|out of memory|Array buffer allocation/i.test(text)) {
    leave(OUT_OF_MEMORY, `out of memory (${text})`);
  }
  if (error instanceof RangeError) leave(MEMORY_FAULT, `stack overflow (${text})`);
  leave(MEMORY_FAULT, text.split("\n")[0]);
}

// A Lean that computes blocks the main thread for good, so a thread of its own looks after the parent.
function watchParent() {
  const parent = workerData.watch;
  setInterval(() => {
    if (process.ppid !== parent) process.kill(process.pid, "SIGKILL");
  }, 500);
}

// --- start ----------------------------------------------------------------------------------------

function parseArguments(argv) {
  const options = { home: null, mounts: [], exported: null, lean: [] };
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === "--") return { ...options, lean: argv.slice(i + 1) };
    else if (argv[i] === "--home") options.home = argv[++i];
    else if (argv[i] === "--mount") options.mounts.push(splitMount(argv[++i]));
    else if (argv[i] === "--export") options.exported = splitExport(argv[++i]);
    else leave(2, `unknown launcher option ${argv[i]}`);
  }
  return options;
}

function splitMount(text) {
  const cut = text.lastIndexOf("=");
  return { host: text.slice(0, cut), guest: text.slice(cut + 1) };
}

function splitExport(text) {
  const cut = text.indexOf("=");
  return { guest: text.slice(0, cut), host: text.slice(cut + 1) };
}

function exportFiles(FS, { guest, host }) {
  for (const name of FS.readdir(guest)) {
    const file = path.posix.join(guest, name);
    if (FS.isFile(FS.stat(file).mode)) fs.writeFileSync(path.join(host, name), FS.readFile(file));
  }
}

function makeFolder(FS, folder) {
  let made = "";
  for (const part of folder.split("/").filter(Boolean)) {
    made += "/" + part;
    if (!FS.analyzePath(made).exists) FS.mkdir(made);
  }
}

function mountAll(Module, options) {
  const { FS } = Module;
  makeFolder(FS, path.dirname(PROGRAM));
  for (const { host, guest } of [{ host: path.join(options.home, "library"), guest: LIBRARY }, ...options.mounts]) {
    makeFolder(FS, guest);
    FS.mount(FS.filesystems.NODEFS, { root: host }, guest);
  }
  if (options.exported) makeFolder(FS, options.exported.guest);
  Module.ENV.LEAN_PATH = LIBRARY;
}

function main() {
  const options = parseArguments(process.argv.slice(2));
  const watchdog = new Worker(__filename, { workerData: { watch: process.ppid } });
  watchdog.unref();
  process.on("uncaughtException", die);
  process.on("unhandledRejection", die);
  const Module = {
    arguments: options.lean,
    thisProgram: PROGRAM,
    locateFile: (file) => path.join(options.home, file),
    mainScriptUrlOrBlob: __filename,
    preRun: [() => mountAll(Module, options)],
    onRuntimeInitialized: () => connectStreams(Module.FS),
    onExit: (code) => {
      if (exitCode(code) === 0 && options.exported) exportFiles(Module.FS, options.exported);
      leave(memoryUsedUp ? OUT_OF_MEMORY : exitCode(code));
    },
    print: () => {},
    // A thread that dies throws in the main thread as well, and that ends the process with a line of its own.
    printErr: (text) => text.startsWith("worker sent an error!") || writeAll(2, Buffer.from(text + "\n")),
  };
  setEnvironmentData("home", options.home); // for the pthreads, which start without arguments
  runLeanJs(options.home, options.mounts.map((mount) => mount.host), Module);
}

if (isMainThread) main();
else if (workerData?.watch) watchParent();
else runLeanJs(getEnvironmentData("home"), [], undefined);
