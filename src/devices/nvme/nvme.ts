/** An NVM Express controller with one namespace: the model, put together from its parts. */
import { type Device, defineDevice } from '../../device/define.js';
import { type Context, freshState, type Nvme, type NvmeState } from './controller.js';
import { goOn, quiesce } from './engine.js';
import { DEVICE_ID, VENDOR_ID } from './identify.js';
import { layoutOf, registersOf } from './registers.js';
import { load, save } from './save.js';
import { type NvmeOptions, resolveSetup } from './setup.js';
import { freshLasting } from './store.js';

// Of the NVM Express base specification 1.4, over PCI Express: one namespace, contiguous queues, PRPs, round robin.
// Sections in the files are those of that specification. Not there: SGLs, metadata, fused commands, namespace
// management, firmware download, controller memory buffer, pin interrupts.
//
//   registers  doorbells --> engine  fetch --> admin, nvm --> prp  data --> completion --> interrupts

const CLASS = 0x01_0802; // mass storage, non-volatile memory, NVM Express
/** Of what `save` gives. */
const STATE_VERSION = 1;

/**
 * An NVM Express 1.4 controller. Throws ZtlpError `unknown-name` for an option that it does not have, else the field, the
 * value and what is allowed. The data of a namespace in memory outlives every reset, and belongs to the instance.
 */
export function nvme(options: NvmeOptions = {}): Device<NvmeState> {
  const setup = resolveSetup(options);
  const { size, msix } = layoutOf(setup);
  /** A reset makes the state new, but the data stays: what lasts hangs on the context, of which an instance has one. */
  const instances = new WeakMap<Context, Nvme>();
  const of = (ctx: Context): Nvme => {
    const known = instances.get(ctx);
    if (known !== undefined) return known;
    const fresh: Nvme = { setup, ctx, lasting: freshLasting(setup), depth: 0, wake: () => goOn(fresh) };
    instances.set(ctx, fresh);
    return fresh;
  };
  return defineDevice<NvmeState>({
    name: 'nvme',
    vendorId: VENDOR_ID,
    deviceId: DEVICE_ID,
    classCode: CLASS,
    bars: [{ size, bits: 64, registers: registersOf(setup, of) }],
    capabilities: {
      pcie: { functionLevelReset: true },
      pm: true,
      ...(setup.interrupts === 'msix'
        ? { msix }
        : { msi: { vectors: setup.vectors as 1 | 2 | 4 | 8 | 16 | 32 } }),
    },
    stateVersion: STATE_VERSION,
    state: freshState,
    reset(kind, ctx) {
      if (kind !== 'cold') return;
      const { health, inUse } = of(ctx).lasting;
      health.powerCycles++;
      if (inUse) health.unsafeShutdowns++;
      of(ctx).lasting.inUse = false;
    },
    quiesce: (ctx) => quiesce(of(ctx)),
    save: (ctx) => save(of(ctx)),
    load: (saved, ctx) => load(of(ctx), saved),
  });
}
