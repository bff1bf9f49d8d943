/** The snippets of docs/snoop-vocabulary.md: they compile against the public interface, and print what the page says. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format } from 'node:util';
import ts from 'typescript';
import { describe, expect, it, vi } from 'vitest';
import * as ztlp from '../../src/index.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(`${root}docs/snoop-vocabulary.md`, 'utf8');
const snippets = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code as string);
const IMPORT = /^import \{([^}]*)\} from 'ztlp';$/gm;
const PRINTS = /^\/\/ prints (.*)$/gm;

const names = new Set(
  snippets.flatMap((code) =>
    [...code.matchAll(IMPORT)].flatMap(([, list]) => (list as string).split(',').map((name) => name.trim())),
  ),
);
const body = snippets.map((code) => code.replace(IMPORT, '')).join('\n');
/** All snippets as one program: later ones use what earlier ones made, and each name is imported once. */
const program = `import { ${[...names].join(', ')} } from './src/index.js';\n${body}`;

describe('docs/snoop-vocabulary.md', () => {
  it('compiles', () => {
    const file = `${root}snoop-vocabulary.ts`;
    const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
    const host = ts.createCompilerHost(options);
    const { getSourceFile, fileExists } = host;
    host.fileExists = (name) => name === file || fileExists(name);
    host.getSourceFile = (name, version, ...rest) =>
      name === file ? ts.createSourceFile(name, program, version) : getSourceFile(name, version, ...rest);
    const found = ts.getPreEmitDiagnostics(ts.createProgram([file], { ...options, noEmit: true }, host));
    expect(found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([]);
  });

  it('prints what its comments say', () => {
    const expected = [...body.matchAll(PRINTS)].map(([, text]) => text);
    expect(expected.length).toBeGreaterThan(25);
    const lines: string[] = [];
    const log = vi
      .spyOn(console, 'log')
      .mockImplementation((...values) => void lines.push(format(...values)));
    try {
      const options = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
      const { outputText } = ts.transpileModule(program, { compilerOptions: options });
      new Function('require', 'exports', outputText)(() => ztlp, {});
    } finally {
      log.mockRestore();
    }
    expect(lines.map((line) => line.replace(/\n\s*/g, ' '))).toEqual(expected);
  });
});
