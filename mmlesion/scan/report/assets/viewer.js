/* CT viewer: NiiVue draws the images; a second canvas above it draws boxes,
 * outlines and maps.
 *
 * Voxel positions are (i, j, k) = (column, row, slice) of the NIfTI array, voxel
 * centers are integers. "Fractions" are NiiVue's positions in [0, 1] along the
 * displayed axes right, anterior, superior. Fractions are parallel to voxels, so
 * that a box of voxels is a rectangle in each of the three planes. */
'use strict';

const PICTURES = ['score_map', 'attention', 'class_map'];

async function unzip(bytes) {
  const stream = new Blob([bytes]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
}

/** Bytes of a base64 text that holds gzip data. */
async function decode(base64) {
  if (Uint8Array.fromBase64) return unzip(Uint8Array.fromBase64(base64));
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let n = 0; n < binary.length; n += 1) bytes[n] = binary.charCodeAt(n);
  return unzip(bytes);
}

/** Load a script of the folder of the page. */
function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement('script');
    Object.assign(script, { src, onload: resolve });
    script.onerror = () => reject(new Error(`${src} is missing`));
    document.head.append(script);
  });
}

/** Wait until the whole page is parsed, which contains everything if it is one file. */
async function parsed() {
  if (document.readyState !== 'loading') return;
  await new Promise((resolve) => {
    document.addEventListener('DOMContentLoaded', resolve, { once: true });
  });
}

async function loadNiivue() {
  const { niivue } = document.body.dataset;
  await (niivue ? loadScript(niivue) : parsed());
}

/** Bytes of the NIfTI file `voxels` or `reduced`. */
async function voxels(name) {
  const inside = document.getElementById(name);
  if (inside) return decode(inside.textContent);
  const key = name.toUpperCase();
  await loadScript(`${name}.js`);
  const text = window[key];
  delete window[key];
  return decode(text);
}

/** Dark violet over orange to light yellow, as red, green, blue. */
const HEAT = [[40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66],
  [245, 125, 21], [250, 193, 39], [252, 255, 164]];

function heat(value) {
  const place = Math.min(value, 0.9999) * (HEAT.length - 1);
  const low = Math.floor(place);
  return HEAT[low].map((v, c) => v + (HEAT[low + 1][c] - v) * (place - low));
}

/** Values of one finding in a box of voxels; made from what the page holds. */
class VoxelMap {
  constructor({ lower, upper, shape, values }) {
    Object.assign(this, { lower, upper, shape, values, cache: new Map() });
  }

  static async load(stored) {
    return new VoxelMap({ ...stored, values: new Uint8Array(await decode(stored.data)) });
  }

  /** Layer of the map that holds the voxel coordinate, or -1. */
  layer(axis, voxel) {
    const { lower, upper, shape } = this;
    const n = Math.floor(((voxel - lower[axis]) / (upper[axis] - lower[axis])) * shape[axis]);
    return n >= 0 && n < shape[axis] ? n : -1;
  }

  /** The two array axes of a layer, and its values as a function of them. */
  plane(axis, n) {
    const [u, v] = [0, 1, 2].filter((each) => each !== axis);
    const stride = [1, this.shape[0], this.shape[0] * this.shape[1]];
    const at = (a, b) => this.values[n * stride[axis] + a * stride[u] + b * stride[v]];
    return { u, v, width: this.shape[u], height: this.shape[v], at };
  }

  cached(kind, axis, n, make) {
    const key = `${kind} ${axis} ${n}`;
    if (!this.cache.has(key)) this.cache.set(key, make(this.plane(axis, n)));
    return this.cache.get(key);
  }

  /** Border between zero and other values along the voxel edges. */
  outline(axis, n) {
    return this.cached('outline', axis, n, ({ width, height, at }) => {
      const path = new Path2D();
      const inside = (a, b) => a >= 0 && b >= 0 && a < width && b < height && at(a, b) > 0;
      for (let b = 0; b <= height; b += 1) {
        for (let a = 0; a <= width; a += 1) {
          const here = inside(a, b);
          if (here !== inside(a - 1, b)) { path.moveTo(a, b); path.lineTo(a, b + 1); }
          if (here !== inside(a, b - 1)) { path.moveTo(a, b); path.lineTo(a + 1, b); }
        }
      }
      return path;
    });
  }

  picture(axis, n) {
    return this.cached('picture', axis, n, ({ width, height, at }) => {
      const canvas = document.createElement('canvas');
      Object.assign(canvas, { width, height });
      const context = canvas.getContext('2d');
      const image = context.createImageData(width, height);
      for (let b = 0; b < height; b += 1) {
        for (let a = 0; a < width; a += 1) {
          const value = at(a, b) / 255;
          image.data.set([...heat(value), 255 * Math.min(1, 1.25 * value)], 4 * (b * width + a));
        }
      }
      context.putImageData(image, 0, 0);
      return canvas;
    });
  }
}

class ScanViewer {
  constructor(canvas, layer) {
    this.layer = layer;
    this.marks = [];
    this.show = {};
    this.opacity = 0.6;
    this.onMove = () => {};
    this.onWindow = () => {};
    this.nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.35, 0.65, 0.95, 0.4],
      crosshairGap: 16,
      crosshairWidth: 0.6,
      fontColor: [0.62, 0.68, 0.74, 1],
      fontMinPx: 11,
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      dragAndDropEnabled: false,
      dragMode: 9, // windowing with the right button
      clipPlaneHotKey: '',
      cycleClipPlaneHotKey: '',
      viewModeHotKey: '',
      logLevel: 'error',
      isAntiAlias: false,
      loadingText: '',
    });
    this.canvas = canvas;
  }

  /** Show a scan of {affine_ras, shape, reduction}, windowed to [low, high] HU, at the
   * voxel that `target` returns, or in the middle. */
  async open(scan, range, target) {
    this.shape = scan.shape;
    this.affine = scan.affine_ras;
    this.reduction = scan.reduction;
    const bytes = voxels(this.reduction > 1 ? 'reduced' : 'voxels'); // while shaders compile
    this.nv.meshShaders = []; // a scan has no meshes
    await this.nv.attachToCanvas(this.canvas, false);
    this.skipGradients();
    const draw = this.nv.drawScene.bind(this.nv);
    this.nv.drawScene = () => {
      if (this.quiet) return '';
      const text = draw();
      this.annotate();
      return text;
    };
    this.nv.onLocationChange = (where) => this.onMove(this.position(), where);
    this.nv.onIntensityChange = (volume) => this.onWindow([volume.cal_min, volume.cal_max]);
    const image = await this.image(await bytes, range);
    this.quiet = true; // one drawing is enough
    this.nv.addVolume(image);
    this.measure();
    this.setLayout('planes');
    this.quiet = false;
    this.goTo(target() ?? this.shape.map((n) => (n - 1) / 2));
  }

  image(url, [low, high]) {
    return niivue.NVImage.loadFromUrl({
      url, name: 'scan.nii', colormap: 'gray', cal_min: low, cal_max: high,
    });
  }

  /** Replace means of blocks of pixels by all pixels. */
  async full() {
    if (this.reduction === 1) return;
    const bytes = await voxels('voxels');
    const [old] = this.nv.volumes;
    const image = await this.image(bytes, [old.cal_min, old.cal_max]);
    const here = this.position();
    this.quiet = true;
    this.nv.removeVolume(old);
    this.nv.addVolume(image);
    this.reduction = 1;
    this.measure();
    this.quiet = false;
    this.goTo(here);
  }

  /** Fractions per voxel step. */
  measure() {
    const origin = this.toFraction([0, 0, 0]);
    this.steps = [0, 1, 2].map((axis) => {
      const unit = [0, 0, 0];
      unit[axis] = 1;
      return this.toFraction(unit).map((value, n) => value - origin[n]);
    });
  }

  /** Whether WebGL runs on a graphics card and not on the CPU. */
  graphicsCard() {
    const { gl } = this.nv;
    const detail = gl.getExtension('WEBGL_debug_renderer_info');
    const name = gl.getParameter(detail ? detail.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
  }

  /** Compute NiiVue's gradients of one voxel only: only 3-D rendering needs them. */
  skipGradients() {
    const { nv } = this;
    const { blurShader: blur } = nv;
    const use = blur.use.bind(blur);
    let restore = null;
    blur.use = (context) => { // the first step of the gradients
      use(context);
      const { hdr } = nv.volumes[0];
      const { dims } = hdr;
      restore = () => { hdr.dims = dims; };
      hdr.dims = [3, 1, 1, 1, 1, 1, 1, 1];
    };
    const refresh = nv.refreshLayers.bind(nv);
    nv.refreshLayers = (...layer) => {
      try {
        refresh(...layer);
      } finally {
        restore?.();
        restore = null;
      }
    };
  }

  /** Position in mm (right, anterior, superior) of a voxel. */
  toMm(voxel) {
    return this.affine.slice(0, 3).map(
      (row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
  }

  /** Fractions of a voxel; without `true` NiiVue ignores that a scan is oblique. */
  toFraction(voxel) {
    return Array.from(this.nv.mm2frac([...this.toMm(voxel), 1], 0, true)).slice(0, 3);
  }

  /** Voxel axis that is shown along an axis of fractions. */
  voxelAxis(fractionAxis) {
    const size = this.steps.map((step) => Math.abs(step[fractionAxis]));
    return size.indexOf(Math.max(...size));
  }

  /** Voxel (i, j, k) at the crosshair, not rounded. */
  position() {
    const here = this.nv.scene.crosshairPos;
    const origin = this.toFraction([0, 0, 0]);
    const voxel = [0, 0, 0];
    for (const axis of [0, 1, 2]) {
      const own = this.voxelAxis(axis);
      voxel[own] = (here[axis] - origin[axis]) / this.steps[own][axis];
    }
    return voxel;
  }

  goTo(voxel) {
    this.nv.scene.crosshairPos = this.toFraction(voxel);
    this.center();
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }

  /** Move the crosshair by slices of a plane: 0 axial, 1 coronal, 2 sagittal. */
  scroll(slices, plane = 0) {
    const axis = this.voxelAxis(2 - plane);
    const voxel = this.position().map((value, n) => {
      const whole = Math.round(value) + (n === axis ? slices : 0);
      return Math.max(0, Math.min(this.shape[n] - 1, whole));
    });
    this.goTo(voxel);
  }

  setWindow([low, high]) {
    const [image] = this.nv.volumes;
    Object.assign(image, { cal_min: low, cal_max: high });
    this.nv.refreshLayers(image, 0);
    this.nv.drawScene();
    this.onWindow([low, high]);
  }

  /** Arrange the planes: 'planes' shows all three, else one of them. */
  setLayout(name) {
    this.layout = name;
    const wide = this.canvas.clientWidth > 0.9 * this.canvas.clientHeight;
    const tile = (sliceType, ...position) => ({ sliceType, position });
    const one = { axial: 0, coronal: 1, sagittal: 2 }[name];
    let tiles = [tile(0, 0, 0, 0.64, 1), tile(1, 0.645, 0, 0.355, 0.495),
      tile(2, 0.645, 0.505, 0.355, 0.495)];
    if (!wide) {
      tiles = [tile(0, 0, 0, 1, 0.645), tile(1, 0, 0.655, 0.495, 0.345),
        tile(2, 0.505, 0.655, 0.495, 0.345)];
    }
    this.size = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.nv.setCustomLayout(one === undefined ? tiles : [tile(one, 0, 0, 1, 1)]);
  }

  /** Arrange the planes again if the canvas has another size. */
  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    const [width, height] = this.size;
    if (clientWidth !== width || clientHeight !== height) this.setLayout(this.layout);
  }

  /** Zoom, with the crosshair in the middle; 1 shows the whole slice. */
  zoom(factor) {
    const pan = this.nv.scene.pan2Dxyzmm;
    pan[3] = Math.max(1, Math.min(12, pan[3] * factor));
    this.center();
    this.nv.drawScene();
  }

  center() {
    const pan = this.nv.scene.pan2Dxyzmm;
    const middle = this.nv.frac2mm([0.5, 0.5, 0.5]);
    const here = this.nv.frac2mm(this.nv.scene.crosshairPos);
    for (const n of [0, 1, 2]) pan[n] = pan[3] > 1 ? middle[n] - pan[3] * here[n] : 0;
  }

  /** Position of fractions on the canvas within a tile of NiiVue. */
  toScreen(fraction, tile) {
    const mm = this.nv.frac2mm(fraction);
    const [a, b] = [[mm[0], mm[1]], [mm[0], mm[2]], [mm[1], mm[2]]][tile.axCorSag];
    /* WebGL drops the fractions of a viewport, which counts from the bottom. */
    const [left, top, width, height] = this.pixels(tile.leftTopWidthHeight);
    return [left + ((a - tile.leftTopMM[0]) / tile.fovMM[0]) * width,
      top + height - ((b - tile.leftTopMM[1]) / tile.fovMM[1]) * height];
  }

  pixels([left, top, width, height]) {
    const bottom = Math.trunc(this.canvas.height - (top + height));
    const rows = Math.trunc(height);
    return [Math.trunc(left), this.canvas.height - bottom - rows, Math.trunc(width), rows];
  }

  annotate() {
    const { layer, canvas } = this;
    if (layer.width !== canvas.width || layer.height !== canvas.height) {
      layer.width = canvas.width;
      layer.height = canvas.height;
    }
    const context = layer.getContext('2d');
    context.clearRect(0, 0, layer.width, layer.height);
    this.drawn = [];
    if (!this.steps) return;
    for (const tile of this.nv.screenSlices) {
      if (tile.axCorSag > 2 || !tile.fovMM.length) continue;
      context.save();
      context.beginPath();
      context.rect(...tile.leftTopWidthHeight);
      context.clip();
      for (const mark of this.marks) this.drawMark(context, tile, mark);
      context.restore();
    }
  }

  drawMark(context, tile, mark) {
    const across = this.voxelAxis(2 - tile.axCorSag);
    const here = this.position();
    const scale = this.layer.width / Math.max(1, this.layer.clientWidth);
    /* Screen position of a voxel position in the plane that is shown. */
    const project = (voxel) => {
      const placed = [...voxel];
      placed[across] = here[across];
      return this.toScreen(this.toFraction(placed), tile);
    };
    for (const kind of PICTURES) {
      const map = mark.selected && this.show[kind] && mark.maps[kind];
      if (map) this.drawPicture(context, map, across, here, project);
    }
    const outline = this.show.outline && mark.maps.outline;
    if (outline) this.drawOutline(context, outline, across, here, project, mark, scale);
    const { lower, upper } = mark.box;
    const within = here[across] >= lower[across] && here[across] <= upper[across];
    if (!this.show.box || !within) return;
    const [x0, y0] = project(lower);
    const [x1, y1] = project(upper);
    const rectangle = [Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)];
    this.drawn.push({ id: mark.id, plane: tile.axCorSag, rectangle });
    context.lineWidth = (mark.selected ? 2 : 1.25) * scale;
    context.strokeStyle = mark.color;
    context.strokeRect(...rectangle);
    if (tile.axCorSag !== 0 && this.layout === 'planes') return;
    context.font = `600 ${11 * scale}px system-ui, sans-serif`;
    const width = context.measureText(mark.label).width + 8 * scale;
    const top = rectangle[1] - 15 * scale;
    context.fillStyle = mark.selected ? mark.color : 'rgb(0 0 0 / 0.65)';
    context.fillRect(rectangle[0] - context.lineWidth / 2, top, width, 15 * scale);
    context.fillStyle = mark.selected ? '#111' : mark.color;
    context.fillText(mark.label, rectangle[0] + 3 * scale, top + 11.5 * scale);
  }

  /** Matrix from the pixels of a layer of a map to the screen. */
  matrix(map, across, project) {
    const [u, v] = [0, 1, 2].filter((axis) => axis !== across);
    const corner = (a, b) => {
      const voxel = [...map.lower];
      voxel[u] = a ? map.upper[u] : map.lower[u];
      voxel[v] = b ? map.upper[v] : map.lower[v];
      return project(voxel);
    };
    const [x, y] = corner(0, 0);
    const [xu, yu] = corner(1, 0);
    const [xv, yv] = corner(0, 1);
    const [width, height] = [map.shape[u], map.shape[v]];
    return new DOMMatrix([(xu - x) / width, (yu - y) / width,
      (xv - x) / height, (yv - y) / height, x, y]);
  }

  drawPicture(context, map, across, here, project) {
    const n = map.layer(across, here[across]);
    if (n < 0) return;
    context.save();
    const clip = context.getTransform();
    context.setTransform(clip.multiply(this.matrix(map, across, project)));
    context.globalAlpha = this.opacity;
    context.imageSmoothingEnabled = true;
    context.drawImage(map.picture(across, n), 0, 0);
    context.restore();
  }

  drawOutline(context, map, across, here, project, mark, scale) {
    const n = map.layer(across, here[across]);
    if (n < 0) return;
    const path = new Path2D();
    path.addPath(map.outline(across, n), this.matrix(map, across, project));
    context.lineWidth = 1.5 * scale;
    context.lineCap = 'square';
    context.strokeStyle = mark.outline;
    context.stroke(path);
  }
}
