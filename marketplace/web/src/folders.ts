// A folder that somebody chose or dragged onto the page, as files by their path in it.

import type { Folder } from "./layouts";

const MOST = 2_001; // one more than a layout may have

export function chosen(files: Iterable<File>): Folder {
  const found = new Map<string, File>();
  for (const file of files) {
    found.set(file.webkitRelativePath.split("/").slice(1).join("/"), file);
  }
  return found;
}

export async function dropped(items: Iterable<DataTransferItem>): Promise<Folder> {
  const found = new Map<string, File>();
  const waiting = [...items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const top = waiting.length === 1 ? `${waiting[0]?.fullPath}/` : "/";
  while (waiting.length > 0 && found.size < MOST) {
    const entry = waiting.pop();
    if (entry instanceof FileSystemDirectoryEntry) {
      waiting.push(...(await entries(entry)));
    } else if (entry instanceof FileSystemFileEntry) {
      found.set(
        entry.fullPath.slice(top.length),
        await new Promise<File>((resolve, reject) => entry.file(resolve, reject)),
      );
    }
  }
  return found;
}

async function entries(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    found.push(...some);
    if (some.length === 0 || found.length > MOST) {
      return found;
    }
  }
}
