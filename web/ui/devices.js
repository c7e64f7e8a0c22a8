import { listDevices } from "../client/index.js";
import { h } from "./dom.js";

/**
 * @typedef {"microphone" | "camera" | "speaker"} Device
 * @typedef {{ microphone: string, camera: string, speaker: string }} Choice
 */

const LABELS = Object.freeze({ microphone: "Microphone", camera: "Camera", speaker: "Speaker" });

/**
 * Lists of the cameras, microphones and speakers that are plugged in, kept up to date while they
 * are shown.
 */
export class DeviceLists {
  #choice;
  #selects;
  #refresh = () => void this.refresh();
  element = h("div", { class: "devices" });

  /**
   * @param {object} options
   * @param {() => Choice} options.choice what is in use now
   * @param {(device: Device, id: string) => void} options.onChoose
   */
  constructor({ choice, onChoose }) {
    this.#choice = choice;
    /** @param {Device} device */
    const select = (device) =>
      h("select", { onchange: (/** @type {Event} */ event) => onChoose(device, /** @type {HTMLSelectElement} */ (event.target).value) });
    this.#selects = { microphone: select("microphone"), camera: select("camera"), speaker: select("speaker") };
    for (const device of /** @type {Device[]} */ (Object.keys(LABELS))) {
      this.element.append(h("label", { class: "field" }, h("span", { text: LABELS[device] }), this.#selects[device]));
    }
    navigator.mediaDevices?.addEventListener("devicechange", this.#refresh);
  }

  async refresh() {
    const { microphones, cameras, speakers } = await listDevices();
    const choice = this.#choice();
    fill(this.#selects.microphone, microphones, choice.microphone, "No microphone");
    fill(this.#selects.camera, cameras, choice.camera, "No camera");
    fill(this.#selects.speaker, speakers, choice.speaker, "System default");
    // Only some browsers let a page choose where sound comes out.
    const canChoose = "setSinkId" in HTMLMediaElement.prototype && speakers.length > 0;
    /** @type {HTMLElement} */ (this.#selects.speaker.parentElement).hidden = !canChoose;
  }

  close() {
    navigator.mediaDevices?.removeEventListener("devicechange", this.#refresh);
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {MediaDeviceInfo[]} devices
 * @param {string} chosen
 * @param {string} none what to say when there is nothing to choose
 */
function fill(select, devices, chosen, none) {
  select.replaceChildren(
    ...devices.map(({ deviceId, label }, index) => h("option", { value: deviceId, text: label || `Device ${index + 1}` })),
  );
  if (devices.length === 0) select.append(h("option", { value: "", text: none }));
  select.disabled = devices.length === 0;
  if (devices.some(({ deviceId }) => deviceId === chosen)) select.value = chosen;
}
