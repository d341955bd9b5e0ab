"""What is injected into a page: its visible elements as a list, each with a number that stays while the page does."""

# Colours that have a name in CSS and that tasks speak of; any other is written as #rrggbb.
_COLOR_NAMES = {
    "0,0,0": "black", "255,255,255": "white", "255,0,0": "red", "0,0,255": "blue", "0,128,0": "green",
    "0,255,0": "lime", "255,255,0": "yellow", "255,165,0": "orange", "128,0,128": "purple", "128,128,128": "grey",
    "0,255,255": "cyan", "255,192,203": "pink", "255,0,255": "magenta", "128,128,0": "olive", "165,42,42": "brown",
    "0,0,128": "navy", "0,128,128": "teal", "128,0,0": "maroon", "192,192,192": "silver",
}  # fmt: skip

OBSERVE = (
    "const colorNames = "
    + repr(_COLOR_NAMES)
    + r"""
const [skipped, nameLimit, elementLimit, viewOnly, numbered] = arguments;
const memory = window.__agentbank ||= {next: 1, refs: new WeakMap(), elements: new Map()};
const list = [];
let left = 0;
// A page is busy while a picture that it shows is on its way, or something moves that will stop.
let busy = document.readyState !== 'complete' || [...document.images].some((image) => !image.complete) ||
  document.getAnimations().some((one) => one.playState === 'running' && one.effect.getComputedTiming().endTime < 5000);

const clean = (text) => (text || '').replace(/\s+/g, ' ').trim();
const cut = (text) => text.length > nameLimit ? text.slice(0, nameLimit) + '...' : text;
const refOf = (element) => {
  if (!numbered) return memory.refs.get(element) || 0;
  if (!memory.refs.has(element)) {
    memory.elements.set(memory.next, new WeakRef(element));
    memory.refs.set(element, memory.next++);
  }
  return memory.refs.get(element);
};
const color = (text, written) => {
  if (/^[a-z]+$/i.test(written) && !['none', 'transparent', 'inherit', 'initial'].includes(written)) return written;
  const parts = /rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?\)/.exec(text);
  if (!parts || parts[4] === '0') return '';
  const rgb = [parts[1], parts[2], parts[3]];
  return colorNames[rgb.join(',')] || '#' + rgb.map((part) => (+part).toString(16).padStart(2, '0')).join('');
};
const label = (element) => {
  const written = clean(element.getAttribute('aria-label') || element.getAttribute('alt') || element.title);
  if (written) return written;
  const labels = [...element.labels || []];
  if (labels.length) return clean(labels.map((one) => one.textContent).join(' '));
  return clean(element.getAttribute('placeholder'));
};
const add = (element, role, name, more) => {
  const box = element.getBoundingClientRect();
  if (viewOnly && (box.bottom < 0 || box.top > innerHeight)) { left += box.top > innerHeight ? 1 : 0; return; }
  if (list.length >= elementLimit) { left += 1; return; }
  const states = {...more};
  if (element.disabled) states.disabled = '';
  if (document.activeElement === element && element !== document.body) states.focused = '';
  list.push({
    ref: refOf(element), role, name: cut(name), states, key: element.id || element.getAttribute('class') || '',
    box: [box.left, box.top, box.width, box.height].map(Math.round),
  });
};
const inputRoles = {checkbox: 'checkbox', radio: 'radio', submit: 'button', button: 'button', reset: 'button',
  image: 'button', range: 'slider', number: 'spinbutton'};
const shapes = ['circle', 'rect', 'polygon', 'ellipse', 'line', 'path', 'text', 'tspan', 'image'];

const input = (element) => {
  const role = inputRoles[element.type] || 'textbox';
  const states = {};
  if (['date', 'time', 'color', 'month', 'week', 'datetime-local', 'file', 'password'].includes(element.type))
    states.type = element.type;
  if (role === 'checkbox' || role === 'radio') { if (element.checked) states.checked = ''; }
  else if (role !== 'button') states.value = cut(element.value);
  add(element, role, role === 'button' ? clean(element.value) || label(element) : label(element), states);
};
const select = (element) => {
  add(element, element.multiple ? 'listbox' : 'combobox', label(element), {});
  for (const option of element.options) {
    // An option of a closed list has no place of its own on the page.
    if (list.length >= elementLimit) { left += 1; continue; }
    const states = option.selected ? {selected: ''} : {};
    if (option.disabled) states.disabled = '';
    list.push({ref: refOf(option), role: 'option', name: cut(clean(option.text)), states, key: option.id,
      box: [0, 0, 0, 0]});
  }
};
const shape = (element, style) => {
  const box = element.getBoundingClientRect();
  const at = `${Math.round(box.left + box.width / 2)},${Math.round(box.top + box.height / 2)}`;
  const states = {at, size: `${Math.round(box.width)}x${Math.round(box.height)}`};
  const paint = color(style.fill, element.getAttribute('fill'));
  if (paint) states.color = paint;
  if (element.points) states.corners = String(element.points.numberOfItems);
  add(element, element.tagName.toLowerCase(), clean(element.textContent), states);
};
const visit = (element, pointerAbove) => {
  if (skipped && element.matches(skipped)) return;
  const tag = element.tagName.toLowerCase();
  if (['script', 'style', 'noscript', 'template', 'head'].includes(tag)) return;
  const style = getComputedStyle(element);
  if (style.display === 'none') return;
  const box = element.getBoundingClientRect();
  if (style.content.startsWith('url(') && !box.width && element.getClientRects().length) busy = true;
  const shown = style.visibility === 'visible' && +style.opacity > 0 && box.width > 0 && box.height > 0;
  if (shown && tag === 'select') return select(element);
  if (shown && tag === 'input' && element.type !== 'hidden') return input(element);
  if (shown && tag === 'textarea') {
    return add(element, 'textbox', label(element), {multiline: '', value: cut(element.value)});
  }
  if (shown && element instanceof SVGElement && shapes.includes(tag)) return shape(element, style);
  const children = [...(element.shadowRoot || element).childNodes];
  const text = children.filter((child) => child.nodeType === 3).map((child) => clean(child.data)).filter(Boolean);
  const pointer = style.cursor === 'pointer';
  const holder = tag === 'label' && element.control && element.contains(element.control);
  const whole = tag === 'button' || tag === 'a' || element.getAttribute('role') === 'button';
  if (shown && whole) {
    const role = tag === 'a' ? 'link' : 'button';
    const image = element.querySelector('img[alt]');
    add(element, role, label(element) || clean(element.innerText) || (image ? clean(image.alt) : '') ||
      clean(element.id || element.className.toString()), {});
    // What a button or link holds is told by its name, further controls apart.
    if (!element.querySelector('input, select, textarea, button')) return;
  }
  let named = whole;
  const roles = {th: 'cell', td: 'cell', h1: 'heading', h2: 'heading', h3: 'heading', h4: 'heading', li: 'item'};
  const role = pointer && !pointerAbove ? 'clickable' : roles[tag] || 'text';
  if (shown && !text.length && !element.children.length && tag !== 'br' && tag !== 'hr') {
    const picture = tag === 'img' || tag === 'canvas';
    const name = picture ? label(element) || element.id : clean(element.id || element.className);
    const paint = color(style.backgroundColor, element.style.backgroundColor);
    if (picture) add(element, tag, name, {});
    else if (element.isContentEditable) add(element, 'textbox', label(element), {value: ''});
    else if (pointer || style.backgroundImage !== 'none' || paint)
      add(element, pointer ? 'clickable' : 'box', name, paint ? {color: paint} : {});
    return;
  }
  for (const child of children) {
    if (child.nodeType === 1) visit(child, pointer);
    else if (child.nodeType === 3 && shown && !holder && clean(child.data)) {
      add(element, named ? 'text' : role, clean(child.data), {});
      named = true;
    }
  }
};
if (document.body) visit(document.body, false);
return {url: location.href, title: document.title, elements: list, left, busy};
"""
)

FIND = """
const element = window.__agentbank && window.__agentbank.elements.get(arguments[0])?.deref();
return element && element.isConnected ? element : null;
"""

# A place inside the element, in the window, where a click meets it or what it holds.
UNCOVERED = """
const element = arguments[0], box = element.getBoundingClientRect();
for (let row = 1; row < 10; row++) for (let column = 1; column < 10; column++) {
  const x = Math.round(box.left + box.width * column / 10), y = Math.round(box.top + box.height * row / 10);
  const top = document.elementFromPoint(x, y);
  if (top && element.contains(top)) return [x, y];
}
return null;
"""

CAN_DRAG = """
const [element, other, right, down] = arguments;
element.scrollIntoView({block: 'nearest'});
const box = (other || element).getBoundingClientRect();
const x = box.left + box.width / 2 + right, y = box.top + box.height / 2 + down;
return x >= 0 && y >= 0 && x < innerWidth && y < innerHeight;
"""

SET_VALUE = """
const [element, text] = arguments;
element.value = text;
element.dispatchEvent(new Event('input', {bubbles: true}));
element.dispatchEvent(new Event('change', {bubbles: true}));
return element.value;
"""

SELECT_ALL = """
const element = arguments[0];
if (element.select) element.select(); else document.execCommand('selectAll');
"""

KIND = "return [arguments[0].tagName.toLowerCase(), arguments[0].type || '', arguments[0].isContentEditable];"
