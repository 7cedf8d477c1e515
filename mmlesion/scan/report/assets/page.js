/* The page of one scan: findings list, controls, keys. */
'use strict';

const LAYOUTS = [['planes', '3 planes'], ['axial', 'Axial'], ['coronal', 'Coronal'],
  ['sagittal', 'Sagittal']];
const OVERLAYS = [['box', 'Box', 'b'], ['outline', 'Outline', 'o'],
  ['score_map', 'Score map', 's'], ['attention', 'Attention', 'a'],
  ['class_map', 'Malignancy map', 'm']];
const COLORS = { selected: '#ffd166', other: '#4cc9f0', outline: '#80ed99' };

const at = (id) => document.getElementById(id);
const fixed = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : '–');

/** Element with text, class and children. */
function element(name, { text, kind, ...rest } = {}, children = []) {
  const made = Object.assign(document.createElement(name), rest);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

/** Wait until the browser has painted what the page contains now. */
const painted = () => new Promise((resolve) => {
  requestAnimationFrame(() => setTimeout(resolve));
});

class ScanPage {
  constructor(content) {
    this.content = content;
    this.findings = content.findings;
    this.windows = content.windows;
    this.selected = null;
    this.ready = false; // whether the viewer shows the scan
    this.show = { box: true, outline: true, score_map: false, attention: false, class_map: false };
    this.maps = new Map();
  }

  /** Show findings and key slices first, because the viewer needs more time. */
  async start() {
    this.threshold = this.content.threshold;
    this.describe();
    this.makeControls();
    this.makeTable();
    this.filter();
    document.addEventListener('keydown', (event) => this.key(event), true);
    const [first] = this.visible();
    if (first) await this.select(first.id);
    await painted();
    document.body.dataset.usable = 'true';
    await this.startViewer();
  }

  async startViewer() {
    const { scan, window: number } = this.content;
    await loadNiivue();
    this.viewer = new ScanViewer(at('gl'), at('layer'));
    this.viewer.show = this.show;
    this.viewer.onMove = (voxel, where) => this.moved(voxel, where);
    this.viewer.onWindow = (range) => this.windowed(range);
    const { range } = this.windows[number];
    await this.viewer.open(scan, range, () => this.finding()?.target);
    this.windowed(range);
    this.ready = true;
    at('picture').hidden = true;
    at('wait').hidden = true;
    for (const id of ['toolbar', 'scroller']) at(id).inert = false;
    await this.showMaps();
    new ResizeObserver(() => this.viewer.resize()).observe(at('gl'));
    this.offerFull();
    document.body.dataset.ready = 'true';
    if (this.viewer.reduction > 1 && this.viewer.graphicsCard()) await this.full();
  }

  /** Offer all pixels while the viewer shows means of blocks of pixels. */
  offerFull() {
    const { reduction } = this.viewer;
    at('full').hidden = reduction === 1;
    at('full').textContent = `Means of ${reduction} × ${reduction} pixels. Load all`;
  }

  async full() {
    if (at('full').hidden) return;
    at('full').hidden = true;
    at('wait').textContent = 'Loading all pixels …';
    at('wait').hidden = false;
    await painted();
    await this.viewer.full();
    at('wait').hidden = true;
    this.offerFull();
  }

  /* ---- texts ---- */
  describe() {
    const { about, scan } = this.content;
    const [columns, rows, slices] = scan.shape;
    at('subtitle').textContent = `${slices} slices of ${columns} × ${rows}, `
      + `${scan.spacing_mm.map((v) => v.toFixed(2)).join(' × ')} mm`;
    for (const [term, text] of about) {
      at('about').append(element('dt', { text: term }), element('dd', { text }));
    }
    at('slice').max = slices;
  }

  /** Point of the FROC curve at a threshold: the last score not below it. */
  expected(threshold) {
    const curve = this.content.froc;
    if (!curve) return '';
    let n = -1;
    while (n + 1 < curve.scores.length && curve.scores[n + 1] >= threshold) n += 1;
    const [fp, hit] = n < 0 ? [0, 0] : [curve.fp_per_image[n], curve.sensitivity[n]];
    return `At this threshold: ${fixed(fp, 2)} false positives per ${curve.unit} expected, `
      + `sensitivity ${fixed(100 * hit, 0)} %`;
  }

  /* ---- controls ---- */
  makeControls() {
    this.windows.forEach(({ name, range }, n) => {
      at('windows').append(this.button(name, `${name} window (${n + 1})`,
        () => this.viewer.setWindow(range), `window-${n}`));
    });
    for (const [name, text] of LAYOUTS) {
      at('layouts').append(this.button(text, `${text} (L)`, () => this.layout(name), `layout-${name}`));
    }
    this.pressed('layout-planes', true);
    const kinds = new Set(this.findings.flatMap((each) => Object.keys(each.maps)));
    for (const [kind, text, key] of OVERLAYS) {
      if (kind !== 'box' && !kinds.has(kind)) continue;
      at('overlays').append(this.button(text, `${text} (${key.toUpperCase()})`,
        () => this.toggle(kind), `overlay-${kind}`));
      this.pressed(`overlay-${kind}`, this.show[kind]);
    }
    this.opacity();
    at('opacity').oninput = () => {
      this.viewer.opacity = Number(at('opacity').value);
      this.viewer.annotate();
    };
    at('zoom-in').onclick = () => this.viewer.zoom(1.4);
    at('zoom-out').onclick = () => this.viewer.zoom(1 / 1.4);
    at('slice').oninput = () => this.viewer.scroll(
      Number(at('slice').value) - 1 - Math.round(this.viewer.position()[2]));
    at('full').onclick = () => this.fail(this.full());
    at('threshold').value = this.threshold;
    at('threshold').oninput = () => this.filter(Number(at('threshold').value));
    at('theme').onclick = () => this.theme();
    at('help-open').onclick = () => at('help').showModal();
  }

  button(text, title, onclick, id) {
    const made = element('button', { text, title, onclick, id, type: 'button' });
    made.setAttribute('aria-pressed', 'false');
    return made;
  }

  pressed(id, value) {
    at(id)?.setAttribute('aria-pressed', String(value));
  }

  toggle(kind) {
    if (!at(`overlay-${kind}`)) return;
    this.show[kind] = !this.show[kind];
    this.pressed(`overlay-${kind}`, this.show[kind]);
    this.opacity();
    this.refresh();
  }

  /** Offer the opacity while a map is shown. */
  opacity() {
    at('opacity-label').hidden = !PICTURES.some((kind) => this.show[kind]);
  }

  layout(name) {
    for (const [each] of LAYOUTS) this.pressed(`layout-${each}`, each === name);
    this.viewer.setLayout(name);
  }

  theme() {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
  }

  /* ---- findings ---- */
  visible() {
    return this.findings.filter((each) => each.score >= this.threshold);
  }

  makeTable() {
    const body = at('findings').tBodies[0];
    const judged = this.findings.some((each) => each.malignancy !== null);
    at('malignancy-head').hidden = !judged;
    const labeled = new Set(this.findings.map((each) => each.label)).size > 1;
    at('label-head').hidden = !labeled;
    for (const each of this.findings) {
      const bar = element('span', { kind: 'bar' });
      bar.style.setProperty('--share', each.score);
      const cells = [
        element('td', {}, [element('button', { text: each.id, kind: 'jump', type: 'button',
          ariaLabel: `Go to finding ${each.id}` })]),
        element('td', {}, [element('span', { text: fixed(each.score, 2) }), bar]),
        element('td', { text: each.slice }),
        element('td', { text: `${fixed(each.long_mm, 1)} × ${fixed(each.short_mm, 1)}` }),
      ];
      if (labeled) cells.splice(1, 0, element('td', { text: each.label, kind: 'label' }));
      if (judged) {
        const share = each.malignancy;
        const text = share === null ? '–' : `${Math.round(100 * share)} %`;
        const kind = share === null ? '' : share >= 0.5 ? 'chip high' : 'chip';
        cells.push(element('td', {}, [element('span', { text, kind })]));
      }
      const row = element('tr', { id: `finding-${each.id}`, onclick: () => this.select(each.id) }, cells);
      body.append(row);
    }
  }

  filter(threshold = this.threshold) {
    this.threshold = Math.max(0, Math.min(1, threshold));
    at('threshold').value = this.threshold;
    at('threshold-value').textContent = fixed(this.threshold, 2);
    const shown = new Set(this.visible().map((each) => each.id));
    for (const each of this.findings) at(`finding-${each.id}`).hidden = !shown.has(each.id);
    at('count').textContent = `${shown.size} of ${this.findings.length}`;
    at('none').hidden = shown.size > 0;
    at('expected').textContent = this.expected(this.threshold);
    if (this.ready) this.refresh();
  }

  finding() {
    return this.findings.find((each) => each.id === this.selected);
  }

  async select(id) {
    this.selected = id;
    const finding = this.finding();
    for (const each of this.findings) {
      at(`finding-${each.id}`).setAttribute('aria-selected', String(each.id === id));
    }
    at(`finding-${id}`).scrollIntoView({ block: 'nearest' });
    this.detail(finding);
    if (!this.ready) {
      await this.picture(finding);
      return;
    }
    this.viewer.goTo(finding.target);
    await this.showMaps();
  }

  /** Show the key slice of a finding until the viewer is ready. */
  async picture({ picture, slice }) {
    at('picture').hidden = !picture;
    at('slice').value = slice;
    at('readout-slice').textContent = `Slice ${slice} / ${this.content.scan.shape[2]}`;
    if (!picture) return;
    const figure = at('picture').firstElementChild;
    const [image, box] = figure.children;
    const [width, height] = picture.sides_mm;
    figure.style.setProperty('--ratio', width / height);
    image.src = `data:image/jpeg;base64,${picture.data}`;
    ['left', 'top', 'width', 'height'].forEach((side, n) => {
      box.style[side] = `${100 * picture.box[n]}%`;
    });
    await image.decode().catch(() => {}); // another key slice was selected
  }

  /** Draw boxes and maps, and decode the maps before. */
  async showMaps() {
    await Promise.all(this.findings.map((each) => this.load(each)));
    this.refresh();
  }

  /** Decode the maps of a finding; outlines of all, pictures of the selected. */
  async load(finding) {
    const loaded = this.maps.get(finding.id) ?? {};
    this.maps.set(finding.id, loaded);
    for (const [kind, stored] of Object.entries(finding.maps)) {
      if (kind !== 'outline' && finding.id !== this.selected) continue;
      loaded[kind] ??= await VoxelMap.load(stored);
    }
  }

  next(step) {
    const shown = this.visible();
    if (!shown.length) return;
    const now = shown.findIndex((each) => each.id === this.selected);
    this.select(shown[(now + step + shown.length) % shown.length].id);
  }

  refresh() {
    this.viewer.marks = this.visible().map((each) => ({
      id: each.id,
      label: `${each.id} · ${fixed(each.score, 2)}`,
      box: each.box,
      maps: this.maps.get(each.id) ?? {},
      selected: each.id === this.selected,
      color: each.id === this.selected ? COLORS.selected : COLORS.other,
      outline: COLORS.outline,
    })).sort((a, b) => a.selected - b.selected);
    this.viewer.annotate();
  }

  detail(finding) {
    const rows = finding.facts.flatMap(([term, text]) => [
      element('dt', { text: term }), element('dd', { text })]);
    at('detail').replaceChildren(
      element('h2', { text: `Finding ${finding.id}` }), element('dl', {}, rows));
    at('detail').hidden = false;
  }

  /* ---- what the viewer tells ---- */
  moved(voxel, where) {
    const [i, j, k] = voxel.map((v, n) => Math.max(0,
      Math.min(this.content.scan.shape[n] - 1, Math.round(v))));
    at('slice').value = k + 1;
    at('readout-slice').textContent = `Slice ${k + 1} / ${this.content.scan.shape[2]}`;
    const value = where?.values?.[0]?.value;
    this.value = value;
    const about = this.viewer.reduction > 1 ? '≈ ' : '';
    const [x, y, z] = this.viewer.toMm(voxel);
    at('readout-voxel').textContent = `${about}${fixed(value, 0)} HU   `
      + `L ${fixed(-x, 1)}  P ${fixed(-y, 1)}  S ${fixed(z, 1)} mm   [${i}, ${j}, ${k}]`;
  }

  windowed([low, high]) {
    this.windows.forEach(({ range }, n) => {
      this.pressed(`window-${n}`, range[0] === low && range[1] === high);
    });
    at('readout-window').textContent = `W ${fixed(high - low, 0)}  L ${fixed((high + low) / 2, 0)}`;
  }

  /* ---- keys ---- */
  key(event) {
    const typing = event.target.matches('input, select, textarea, dialog *');
    if (typing && /^(Arrow|Page|Home|End)/.test(event.key)) return;
    if (event.ctrlKey || event.metaKey || event.altKey || at('help').open) return;
    const action = this.action(event);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  action({ key, shiftKey }) {
    const name = key.length === 1 ? key.toLowerCase() : key;
    const always = {
      n: () => this.next(1),
      p: () => this.next(-1),
      '[': () => this.filter(this.threshold - 0.01),
      ']': () => this.filter(this.threshold + 0.01),
      t: () => this.theme(),
      '?': () => at('help').showModal(),
    }[name];
    if (always || !this.ready) return always;
    const { viewer } = this;
    const overlay = OVERLAYS.find((each) => each[2] === name);
    if (overlay) return () => this.toggle(overlay[0]);
    if (/^[1-4]$/.test(key)) return () => viewer.setWindow(this.windows[key - 1].range);
    const layouts = LAYOUTS.map(([each]) => each);
    const side = shiftKey ? 1 : 2;
    return {
      ArrowUp: () => viewer.scroll(1),
      ArrowDown: () => viewer.scroll(-1),
      PageUp: () => viewer.scroll(10),
      PageDown: () => viewer.scroll(-10),
      ArrowLeft: () => viewer.scroll(-1, side),
      ArrowRight: () => viewer.scroll(1, side),
      f: () => this.fail(this.full()),
      '+': () => viewer.zoom(1.4),
      '=': () => viewer.zoom(1.4),
      '-': () => viewer.zoom(1 / 1.4),
      0: () => viewer.zoom(0),
      l: () => this.layout(layouts[(layouts.indexOf(viewer.layout) + 1) % layouts.length]),
    }[name];
  }

  /** Show the error of a task that loads voxels. */
  fail(task) {
    return task.catch((error) => {
      at('wait').textContent = `The scan cannot be shown: ${error.message}`;
      at('wait').hidden = false;
      throw error;
    });
  }
}

window.page = new ScanPage(window.SCAN);
window.page.fail(window.page.start());
