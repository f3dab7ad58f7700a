// Starts the suite's origin and the proxy, runs the suite's client, and scores its answers.
// Called by `run`, which explains the options.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const HERE = dirname(fileURLToPath(import.meta.url))
const MUST_PASS = join(HERE, 'must-pass.txt')
const KINDS = ['required', 'optimal', 'check']
// Nothing here may be tuned to the suite.
const PROXY_OPTIONS = ['--origin-decides', '--store-set-cookie']

const { values: options, positionals: [suite] } = parseArgs({
  allowPositionals: true,
  options: {
    proxy: { type: 'string' },
    base: { type: 'string' },
    'origin-port': { type: 'string' },
    test: { type: 'string' },
    beyond: { type: 'boolean' },
    update: { type: 'boolean' }
  }
})

const scratch = mkdtempSync(join(tmpdir(), 'conformance-'))
const children = []
try {
  const originPort = options['origin-port'] ?? await freePort()
  await start('node', ['--no-warnings', 'server/server.mjs'], /Listening on/, {
    cwd: suite,
    env: {
      ...process.env,
      npm_config_protocol: 'http',
      npm_config_port: originPort,
      npm_config_pidfile: join(scratch, 'origin.pid')
    }
  })
  const base = options.base ?? await startProxy(originPort)
  if (options.test) {
    process.stdout.write(await client(base, options.test))
  } else {
    const failed = options.beyond
      ? 0
      : report(await score(JSON.parse(await client(base, ''))))
    process.exitCode = failed | await reportBeyond(base)
  }
} finally {
  await Promise.all(children.map(stop))
  rmSync(scratch, { recursive: true })
}

function freePort () {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(String(port)))
    })
  })
}

async function startProxy (originPort) {
  const said = await start(
    options.proxy,
    ['--listen', '127.0.0.1:0', '--origin', `http://127.0.0.1:${originPort}`, ...PROXY_OPTIONS],
    /listening on (http:\S+)/,
    { env: { ...process.env, RUST_LOG: process.env.RUST_LOG ?? 'error' } }
  )
  return said[1]
}

// Starts a program that runs until the end, and waits for it to say that it is ready.
function start (program, args, ready, settings) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...settings, stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    let said = ''
    const timer = setTimeout(() => reject(new Error(`${program} did not start: ${said}`)), 30000)
    child.on('error', reject)
    child.on('exit', code => reject(new Error(`${program} ended early, with ${code}: ${said}`)))
    child.stdout.on('data', chunk => {
      said = (said + chunk).slice(-4096)
      const match = said.match(ready)
      if (match) {
        clearTimeout(timer)
        resolve(match)
      }
    })
  })
}

function stop (child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  return new Promise(resolve => {
    const timer = setTimeout(() => child.kill('SIGKILL'), 15000)
    child.on('exit', () => {
      clearTimeout(timer)
      resolve()
    })
    child.kill('SIGTERM')
  })
}

function client (base, id) {
  return new Promise((resolve, reject) => {
    const child = spawn('node', ['--no-warnings', 'cli.mjs'], {
      cwd: suite,
      env: { ...process.env, npm_config_base: base, npm_config_id: id, npm_package_config_id: '' },
      stdio: ['ignore', 'pipe', 'inherit']
    })
    children.push(child)
    let said = ''
    child.stdout.on('data', chunk => { said += chunk })
    child.on('error', reject)
    child.on('exit', code => code === 0 ? resolve(said) : reject(new Error(`client: ${code}`)))
  })
}

// Returns every test that counts, in the suite's order, with its kind and what came of it. A test
// passes only together with all that it builds on, and a check that builds on a no is a no as well; it
// is answered `?` when its setup failed.
async function score (results) {
  const { default: suites } = await import(pathToFileURL(join(suite, 'tests/index.mjs')))
  const tests = new Map()
  for (const test of suites.flatMap(suite => suite.tests)) {
    if (!test.browser_only) tests.set(test.id, test)
  }
  const passed = id => results[id] === true && dependencies(id).every(passed)
  const dependencies = id => tests.get(id)?.depends_on ?? []
  return Array.from(tests.values(), ({ id, kind }) => {
    const [failure, message] = results[id] === true ? [] : results[id] ?? ['Setup', 'not run']
    const missing = dependencies(id).find(id => !passed(id))
    return {
      id,
      kind: kind ?? 'required',
      passed: passed(id),
      answer: passed(id) ? 'Y' : missing || failure === 'Assertion' ? 'n' : '?',
      message: missing ? `builds on ${missing}` : `${failure}: ${message}`
    }
  })
}

function report (scores) {
  const wanted = table('checks.txt')
  const deliberate = table('deliberate.txt')
  const wantsAnswer = ({ id }) => ['Y', 'n'].includes(wanted.get(id)?.[0])
  const good = test => test.kind === 'check'
    ? wanted.get(test.id)?.[0] === test.answer
    : test.passed

  for (const kind of KINDS.slice(0, 2)) {
    const failed = scores.filter(test => test.kind === kind && !test.passed)
    list(`${kind}, not passed`, failed.filter(({ id }) => !deliberate.has(id)), test => test.message)
    list(`${kind}, not passed on purpose`, failed.filter(({ id }) => deliberate.has(id)),
      ({ id }) => deliberate.get(id).join(' '))
  }
  const checks = scores.filter(test => test.kind === 'check')
  console.log('\nchecks (answer, and the one we want):')
  for (const test of checks) {
    const want = wanted.get(test.id)?.[0] ?? 'either'
    const mark = wantsAnswer(test) && !good(test) ? '   <- differs' : ''
    console.log(`  ${test.answer} ${want.padEnd(6)} ${test.id}${mark}`)
  }
  console.log()
  for (const kind of KINDS) {
    const tests = scores.filter(test => test.kind === kind)
    const passed = tests.filter(test => test.passed).length
    console.log(`${kind}: ${passed}/${tests.length}${kind === 'check' ? ' answered yes' : ' passed'}`)
  }
  const strict = checks.filter(wantsAnswer)
  console.log(`checks answered as we want: ${strict.filter(good).length}/${strict.length}`)

  if (options.update) {
    writeFileSync(MUST_PASS, mustPassText(scores.filter(good)))
    console.log(`${MUST_PASS} rewritten`)
    return 0
  }
  return compare(new Set(scores.filter(good).map(test => test.id)))
}

// Runs our own tests in the suite's client, and returns 1 if one fails.
async function reportBeyond (base) {
  const load = path => import(pathToFileURL(path))
  const { runTests, getResults } = await load(join(suite, 'client/runner.mjs'))
  const { default: fetch } = await load(createRequire(join(suite, 'cli.mjs')).resolve('node-fetch'))
  const { default: tests } = await import('./beyond.mjs')
  await runTests([{ tests }], fetch, false, base)
  const results = getResults()
  const failed = tests.filter(({ id }) => results[id] !== true)
  list('beyond the suite, not passed', failed, ({ id }) => results[id].join(': '))
  console.log(`beyond the suite: ${tests.length - failed.length}/${tests.length} passed`)
  return failed.length ? 1 : 0
}

function list (title, tests, reason) {
  if (tests.length) console.log(`\n${title}:`)
  for (const test of tests) console.log(`  ${test.id}: ${reason(test)}`.replace(/: $/, ''))
}

// Lines of `test-id word word…`.
function table (name) {
  return new Map(lines(join(HERE, name)).map(line => {
    const [id, ...rest] = line.split(/\s+/)
    return [id, rest]
  }))
}

function mustPassText (scores) {
  const section = kind => [
    '',
    kind === 'check' ? '# check, answered as checks.txt wants' : `# ${kind}`,
    ...scores.filter(test => test.kind === kind).map(test => test.id)
  ]
  return ['# Tests that must go on passing. Rewritten by `tests/conformance/run --update`.']
    .concat(KINDS.flatMap(section), '').join('\n')
}

function compare (good) {
  const must = lines(MUST_PASS)
  const lost = must.filter(id => !good.has(id))
  const gained = [...good].filter(id => !must.includes(id))
  list('passing, but not on must-pass.txt (--update adds them)', gained.map(id => ({ id })), () => '')
  for (const id of lost) console.log(`NO LONGER PASSING: ${id}`)
  console.log(`must pass: ${must.length - lost.length} passed, ${lost.length} failed`)
  return lost.length ? 1 : 0
}

function lines (file) {
  return readFileSync(file, 'utf8').split('\n')
    .map(line => line.trim())
    .filter(line => line && !line.startsWith('#'))
}
