/** Draws docs/throughput.svg: wire law, simulation, published model and measured host by transfer size; --check compares. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bandwidth } from '../src/report/bandwidth.js';

const HOST = 'hsw2620';
const target = fileURLToPath(new URL('../../docs/throughput.svg', import.meta.url)); // seen from dist/scripts

const WIDTH = 900;
const HEIGHT = 470;
const PANEL = { top: 112, height: 290, width: 370, lefts: [62, 500] } as const;
const SIZES = { least: 16, most: 2048 } as const;
const TICKS = [16, 32, 64, 128, 256, 512, 1024, 2048] as const;
const GBPS = [0, 10, 20, 30, 40, 50, 60] as const;
const MOST_GBPS = 65;

type Point = readonly [size: number, gbps: number];

/** What one panel shows. */
interface Curves {
  readonly title: string;
  readonly law: readonly Point[];
  readonly model: readonly Point[];
  readonly link: readonly Point[];
  readonly adapter: readonly Point[];
  readonly measured: readonly Point[];
}

/** Every 4 bytes: the curves are saw teeth. */
const dense = Array.from({ length: (SIZES.most - SIZES.least) / 4 + 1 }, (_, n) => SIZES.least + 4 * n);

function points<T extends { readonly size: number }>(
  rows: readonly T[],
  of: (row: T) => number | undefined,
): Point[] {
  return rows.flatMap((row): Point[] => {
    const gbps = of(row);
    const isShown = row.size >= SIZES.least && row.size <= SIZES.most;
    return gbps === undefined || !isShown ? [] : [[row.size, gbps]];
  });
}

async function curves(op: 'write' | 'read', title: string): Promise<Curves> {
  const options = { mrrs: 512 } as const;
  const common = op === 'write' ? { op } : { op, options };
  const bounds = await bandwidth({ ...common, sizes: dense, model: 'pcie-bench' });
  const sizes = [...TICKS, ...(op === 'write' ? [768, 1280, 1536, 1792] : [1536])];
  const link = await bandwidth({ ...common, sizes, simulate: true });
  const host = await bandwidth({ op, sizes, simulate: true, preset: HOST });
  const all = await bandwidth({ op, preset: HOST });
  return {
    title,
    law: points(bounds.rows, ({ wireGbps }) => wireGbps),
    model: points(bounds.rows, ({ model }) => model?.gbps),
    link: points(link.rows, ({ simulated }) => simulated?.gbps),
    adapter: points(host.rows, ({ simulated }) => simulated?.gbps),
    measured: points(all.rows, ({ measured }) => measured?.gbps),
  };
}

/** A number as short as a figure needs it. */
const short = (value: number): string => String(Math.round(10 * value) / 10);

class Panel {
  constructor(
    private readonly left: number,
    private readonly found: Curves,
  ) {}

  private x(size: number): number {
    const octaves = Math.log2(SIZES.most / SIZES.least);
    return this.left + (PANEL.width * Math.log2(size / SIZES.least)) / octaves;
  }

  private y(gbps: number): number {
    return PANEL.top + PANEL.height * (1 - gbps / MOST_GBPS);
  }

  private line(kind: string, list: readonly Point[]): string {
    const path = list.map(
      ([size, gbps], n) => `${n === 0 ? 'M' : 'L'}${short(this.x(size))} ${short(this.y(gbps))}`,
    );
    return `<path class="${kind}" d="${path.join('')}"/>`;
  }

  private marks(kind: 'link' | 'adapter' | 'measured', list: readonly Point[]): string[] {
    return list.map(([size, gbps]) => mark(kind, this.x(size), this.y(gbps)));
  }

  toSvg(): string[] {
    const { title, law, model, link, adapter, measured } = this.found;
    const right = this.left + PANEL.width;
    const bottom = PANEL.top + PANEL.height;
    return [
      `<text class="title" x="${this.left}" y="${PANEL.top - 14}">${title}</text>`,
      `<text class="tick end" x="${this.left - 8}" y="${PANEL.top + 4}">Gb/s</text>`,
      ...GBPS.flatMap((gbps) => [
        `<path class="${gbps === 0 ? 'axis' : 'grid'}" d="M${this.left} ${short(this.y(gbps))}H${right}"/>`,
        `<text class="tick end" x="${this.left - 8}" y="${short(this.y(gbps) + 4)}">${gbps}</text>`,
      ]),
      ...TICKS.map(
        (size) => `<text class="tick middle" x="${short(this.x(size))}" y="${bottom + 18}">${size}</text>`,
      ),
      `<text class="tick middle" x="${this.left + PANEL.width / 2}" y="${bottom + 38}">bytes of a transfer</text>`,
      this.line('law', law),
      this.line('model', model),
      ...this.marks('link', link),
      ...this.marks('adapter', adapter),
      ...this.marks('measured', measured),
    ];
  }
}

function mark(kind: 'link' | 'adapter' | 'measured', x: number, y: number): string {
  if (kind === 'measured')
    return `<path class="measured" d="M${short(x)} ${short(y - 3.5)}l3.5 3.5l-3.5 3.5l-3.5 -3.5z"/>`;
  return `<circle class="${kind}" cx="${short(x)}" cy="${short(y)}" r="${kind === 'link' ? 4 : 6}"/>`;
}

const LEGEND = [
  ['law', 'wire law'],
  ['model', 'pcie-bench model'],
  ['link', 'simulated link'],
  ['adapter', 'simulated, limits of the adapter'],
  ['measured', `measured (${HOST})`],
] as const;
const LEGEND_LEFTS = [62, 158, 318, 452, 690] as const;

function legend(): string[] {
  return LEGEND.flatMap(([kind, text], n) => {
    const left = LEGEND_LEFTS[n] ?? 0;
    const y = 64;
    const isLine = kind === 'law' || kind === 'model';
    const key = isLine ? `<path class="${kind}" d="M${left} ${y}h18"/>` : mark(kind, left + 9, y);
    return [key, `<text class="key" x="${left + 25}" y="${y + 4}">${text}</text>`];
  });
}

const STYLE = `
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#52514e}
.head{font-size:15px;font-weight:600;fill:#0b0b0b}.title{font-size:13px;font-weight:600;fill:#0b0b0b}
.end{text-anchor:end}.middle{text-anchor:middle}.tick{font-size:11px}
path{fill:none}.page{fill:#fcfcfb}.grid{stroke:#e4e3df}.axis{stroke:#a3a29c}
.law{stroke:#8b8a84;stroke-width:1.5}.model{stroke:#d9641c;stroke-width:1.5}
.link{fill:#1f6fd0;stroke:#fcfcfb;stroke-width:1}.adapter{fill:none;stroke:#1f6fd0;stroke-width:2}
.measured{fill:#12805c}
@media(prefers-color-scheme:dark){text{fill:#c3c2b7}.head,.title{fill:#fff}.page{fill:#1a1a19}.grid{stroke:#33332f}
.axis{stroke:#6b6a64}.law{stroke:#8b8a84}.model{stroke:#f08a4b}.link{fill:#5aa0f2;stroke:#1a1a19}
.adapter{stroke:#5aa0f2}.measured{fill:#3fbf93}}`;

async function draw(): Promise<string> {
  const panels = [
    await curves('write', 'Device writes host memory'),
    await curves('read', 'Device reads host memory, MRRS 512'),
  ];
  const body = panels.flatMap((found, n) => new Panel(PANEL.lefts[n] ?? 0, found).toSvg());
  const what =
    'Throughput of a gen3 x8 link by transfer size, writes and reads: wire law, pcie-bench model, simulation, measurement';
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${what}">`,
    `<style>${STYLE}</style>`,
    `<rect class="page" width="${WIDTH}" height="${HEIGHT}"/>`,
    '<text class="head" x="62" y="34">Payload by transfer size on gen3 x8, MPS 256, 4 DW headers</text>',
    ...legend(),
    ...body,
    '</svg>',
  ].join('\n')}\n`;
}

const text = await draw();
if (process.argv.includes('--check')) {
  if (current() !== text) {
    console.error('docs/throughput.svg is not what the simulation gives: npm run docs');
    process.exitCode = 1;
  }
} else {
  writeFileSync(target, text);
}

function current(): string | undefined {
  try {
    return readFileSync(target, 'utf8');
  } catch {
    return undefined;
  }
}
