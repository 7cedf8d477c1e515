# Ours-HESAM on D_11C: Lei et al., arXiv 1810.12494, Table 1.
_base_ = [
    '_base_/models/hesam_unet_resnet.py',
    '_base_/datasets/lidc_nodules.py',
    '_base_/schedules/lidc.py',
    '_base_/lidc_maps_runtime.py',
]
