/** The snippets of a page in docs/: one program that compiles against the public interface, and what it prints. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format } from 'node:util';
import ts from 'typescript';
import { vi } from 'vitest';
import * as device from '../../src/device/index.js';
import * as ztlp from '../../src/index.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const IMPORT = /^import \{([^}]*)\} from '(ztlp(?:\/device)?)';$/gm;
const PRINTS = /^\/\/ prints (.*)$/gm;
const SOURCES: Readonly<Record<string, string>> = {
  ztlp: './src/index.js',
  'ztlp/device': './src/device/index.js',
};

export class PageSnippets {
  private readonly body: string;
  /** All snippets as one program: later ones use what earlier ones made, and each name is imported once. */
  private readonly imports: readonly string[];

  constructor(private readonly name: string) {
    const page = readFileSync(`${root}docs/${name}.md`, 'utf8');
    const snippets = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code as string);
    const names = new Map<string, Set<string>>();
    for (const code of snippets)
      for (const [, list = '', from = ''] of code.matchAll(IMPORT)) {
        const known = names.get(from) ?? new Set<string>();
        for (const one of list.split(',')) known.add(one.trim());
        names.set(from, known);
      }
    this.imports = [...names].map(
      ([from, list]) => `import { ${[...list].join(', ')} } from '${SOURCES[from]}';`,
    );
    this.body = snippets.map((code) => code.replace(IMPORT, '')).join('\n');
  }

  /** What the comments behind `// prints` say. */
  get expected(): string[] {
    return [...this.body.matchAll(PRINTS)].map(([, text]) => text as string);
  }

  /** What the compiler has against the program, with the settings of the library. */
  compile(): string[] {
    const file = `${root}${this.name}.ts`;
    const program = `${this.imports.join('\n')}\n${this.body}`;
    const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
    const host = ts.createCompilerHost(options);
    const { getSourceFile, fileExists } = host;
    host.fileExists = (name) => name === file || fileExists(name);
    host.getSourceFile = (name, version, ...rest) =>
      name === file ? ts.createSourceFile(name, program, version) : getSourceFile(name, version, ...rest);
    const found = ts.getPreEmitDiagnostics(ts.createProgram([file], { ...options, noEmit: true }, host));
    return found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  }

  /** What the program prints, one line per call. */
  async run(): Promise<string[]> {
    const lines: string[] = [];
    const log = vi.spyOn(console, 'log').mockImplementation((...values) => {
      lines.push(format(...values));
    });
    try {
      const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
      const { outputText } = ts.transpileModule(this.body, { compilerOptions: options });
      const library: Readonly<Record<string, unknown>> = { ...ztlp, ...device };
      const names = Object.keys(library).filter((name) => outputText.includes(name));
      const code = `return (async () => {${outputText}\n})();`;
      await new Function(...names, code)(...names.map((name) => library[name]));
    } finally {
      log.mockRestore();
    }
    return lines.map((line) => line.replace(/\n\s*/g, ' '));
  }
}
